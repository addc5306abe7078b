"""Residual networks for small colour images."""

import flax.linen as nn
from jaxtyping import Array, Float

from al_jax.models.cnn import ImageNetwork, Images
from al_jax.models.layers import Conv, Dropout


class ResNet18(ImageNetwork):
    """ResNet-18 (He et al. 2016) with the 3 x 3 stem for 32 x 32 images: `x [n, h, w, c] -> [n, C]`.

    Its norm is GroupNorm with 32 groups (Wu & He 2018), a pure function of each row. BatchNorm would make a row's
    prediction depend on the rows beside it while training, and on running averages afterwards: neither a function of
    the row, nor a pure function of the parameters. Dropout stands before the last layer, so that K draws share all
    convolutions. `width` is 64 in the paper. Other attributes as of `ImageNetwork`.
    """

    width: int = 64

    @nn.compact
    def __call__(self, x: Images, train: bool = False) -> Float[Array, "n C"]:
        """Return logits; `train` switches dropout on."""
        x = self.normalised(x, "resnet18", 8)
        x = nn.relu(self.normed(Conv(self.width, (3, 3), use_bias=False, dtype=self.dtype)(x)))
        for stage in range(4):
            for block in range(2):
                x = self.residual(x, self.width << stage, stride=2 if stage and not block else 1)
        x = Dropout(self.dropout, deterministic=not train)(x.mean(axis=(1, 2)))
        return self.classified(x)

    def residual(self, x: Array, features: int, stride: int) -> Array:
        """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""
        out = Conv(features, (3, 3), strides=stride, use_bias=False, dtype=self.dtype)(x)
        out = Conv(features, (3, 3), use_bias=False, dtype=self.dtype)(nn.relu(self.normed(out)))
        if x.shape != out.shape:
            x = self.normed(Conv(features, (1, 1), strides=stride, use_bias=False, dtype=self.dtype)(x))
        return nn.relu(x + self.normed(out))

    def normed(self, x: Array) -> Array:
        """GroupNorm; the moments are computed in float32 whatever the dtype, and in two passes: one pass cancels."""
        return nn.GroupNorm(num_groups=min(32, x.shape[-1] // 2), dtype=self.dtype, use_fast_variance=False)(x)
