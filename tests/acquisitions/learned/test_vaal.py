"""VAAL and TA-VAAL: an adversary that knows held-out rows, and sees no label."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import loss_prediction, ta_vaal, vaal, waal
from al_jax.acquisitions.learned.waal import uncertainty
from al_jax.acquisitions.toolbox.adversary import Sizes, flat, networks, trained, unlabelled_logit
from al_jax.types import Data, Labelled, Pool, Predictions, Round

SIZES = Sizes(latent=4, width=32, steps=400, learning_rate=2e-3)
C, WIDTH = 3, 60


def rows(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two kinds; the labelled ones are of the first alone."""
    rng = np.random.default_rng(seed)
    kind = np.arange(size) % 2
    centres = 5 * np.repeat([[1.0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0]], WIDTH // 6, axis=1) + 20
    return (centres[kind] + rng.normal(size=(size, WIDTH))).astype(np.float32), kind


def a_round(told=lambda x: jnp.zeros(len(x)), labels=None) -> Round:
    x, kind = rows(0, 200)
    known = jnp.asarray(x[kind == 0][:40])
    labelled = Labelled(
        known, jnp.zeros(40, jnp.int32) if labels is None else labels, jnp.ones(40), jnp.arange(40), jnp.asarray(40)
    )

    def functions(x):
        log_probs = jax.nn.log_softmax(jnp.asarray(x)[:, None, :C])
        return Predictions(log_probs, log_probs[:, 0], jnp.asarray(x), {"loss": told(x), "critic": told(x)})

    return Round(jax.random.key(0), functions, Data(labelled, None, Pool(jnp.asarray(x), jnp.arange(200) >= 0)))


def nothing(x):
    return jnp.zeros((len(x), 1))


@pytest.mark.parametrize("seed", range(3))
def test_the_discriminator_knows_held_out_rows_of_the_kind_that_is_not_labelled(seed):
    data = a_round().data
    adversary = trained(jax.random.key(seed), data.labelled, data.pool, nothing, SIZES)
    held_out, kind = rows(1, 200)
    logits = np.asarray(unlabelled_logit(adversary, SIZES, held_out, nothing))
    above = (logits[kind == 1][:, None] > logits[kind == 0][None]).mean()
    assert above > 0.8, "the area under the curve; 0.5 is chance"


def test_the_autoencoder_keeps_what_tells_rows_apart():
    """The kinds are apart in the codes, though the encoder is asked to hide who is labelled."""
    data = a_round().data
    adversary = trained(jax.random.key(0), data.labelled, data.pool, nothing, SIZES)
    x, kind = rows(1, 200)
    scaled = (flat(x) - adversary.shift) / adversary.scale
    codes = networks(WIDTH, SIZES)["encoder"].apply({"params": adversary.params["encoder"]}, scaled)[:, : SIZES.latent]
    codes = np.asarray(codes)
    gap = np.linalg.norm(codes[kind == 0].mean(0) - codes[kind == 1].mean(0))
    assert gap > 2 * codes[kind == 0].std(0).mean()


def test_numbers_are_scaled_by_the_available_rows_alone():
    data = a_round().data
    x = np.asarray(data.pool.inputs).copy()
    x[:50] = 1e6
    adversary = trained(
        jax.random.key(0), data.labelled, Pool(jnp.asarray(x), jnp.arange(200) >= 50), nothing, SIZES._replace(steps=1)
    )
    assert float(adversary.shift) == pytest.approx(x[50:].mean(), rel=1e-4)
    assert float(adversary.scale) == pytest.approx(x[50:].std(), rel=1e-4)


def test_images_and_several_arrays_are_one_vector():
    tree = {"a": np.arange(12, dtype=np.uint8).reshape(2, 3, 2), "b": np.ones((2, 1), np.float32)}
    np.testing.assert_array_equal(flat(tree), [[0, 1, 2, 3, 4, 5, 1], [6, 7, 8, 9, 10, 11, 1]])


def scored(acquisition, round):
    round = round._replace(context=acquisition.prepare(jax.random.key(1), round))
    return np.asarray(acquisition.summarise(round, round.data.pool.inputs, jnp.arange(200)))


def test_no_label_is_seen():
    method = vaal(4, 50, 16)
    one, other = a_round(), a_round(labels=jnp.arange(40) % C)
    np.testing.assert_array_equal(scored(method, one), scored(method, other))


def test_without_labels_all_rows_are_alike():
    round = a_round()
    empty = round.data.labelled._replace(count=jnp.zeros((), jnp.int32))
    assert (scored(vaal(4, 5, 16), round._replace(data=round.data._replace(labelled=empty))) == 0).all()


def test_ta_vaal_uses_the_predicted_loss_where_inputs_say_nothing():
    """Two kinds of equal inputs: the labelled rows have a small predicted loss, half of the others a large one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    x[:, 5] = np.where(np.arange(200) % 2, 1e-3, -1e-3)  # the loss is told by what the codes cannot keep

    def told(x):
        return jnp.where(jnp.asarray(x)[:, 5] > 0, 4.0, -4.0)

    known = x[::2][:40]
    labelled = Labelled(jnp.asarray(known), jnp.zeros(40, jnp.int32), jnp.ones(40), jnp.arange(40), jnp.asarray(40))
    round = a_round(told)
    round = round._replace(data=Data(labelled, None, Pool(jnp.asarray(x), jnp.ones(200, bool))))
    aware, blind = (scored(method(4, 400, 32, 2e-3), round) for method in (ta_vaal, vaal))
    large = np.arange(200) % 2 == 1
    assert (aware[large][:, None] > aware[~large][None]).mean() > 0.95
    assert (blind[large][:, None] > blind[~large][None]).mean() < 0.7


def test_the_largest_predicted_loss_is_taken():
    round = a_round(lambda x: jnp.asarray(x)[:, 2])
    scores = scored(loss_prediction(), round)
    found = loss_prediction().select(jax.random.key(0), round, jnp.asarray(scores), jnp.ones(200, bool), 5)
    expected = np.argsort(-np.asarray(round.data.pool.inputs)[:, 2])[:5]
    assert set(found.indices.tolist()) == set(expected.tolist())


def test_waal_adds_the_norms_of_log_p_and_the_critic():
    round = a_round(lambda x: jnp.asarray(x)[:, 2])
    x = np.asarray(round.data.pool.inputs, np.float64)
    log_p = x[:, :C] - np.log(np.exp(x[:, :C]).sum(1, keepdims=True))
    expected = -0.5 * (np.abs(log_p).sum(1) + np.sqrt((log_p**2).sum(1))) + 3 * x[:, 2]
    np.testing.assert_allclose(scored(waal(3.0), round), expected, rtol=1e-4)
    uniform, skewed = uncertainty(jnp.log(jnp.array([[1 / 3] * 3, [0.5, 0.3, 0.2]])))
    assert uniform > skewed, "uniform is the most uncertain"


def test_what_cannot_be_is_named():
    for name, sizes in (("latent", (0,)), ("steps", (2, 0)), ("width", (2, 2, 0)), ("learning_rate", (2, 2, 2, 0.0))):
        with pytest.raises(ValueError, match=f"{name}=0.*: expected a positive number"):
            vaal(*sizes)
    with pytest.raises(ValueError, match=r"weight=-1.0: expected 0 or more"):
        waal(-1.0)
    round = a_round()
    for method in (loss_prediction(), waal(), ta_vaal(2, 2, 4)):
        plain = round._replace(functions=lambda x: round.functions(x)._replace(extras={}))
        with pytest.raises(ValueError, match=r"no extras\['(loss|critic)'\]: expected those of posteriors\.\w+"):
            scored(method, plain)
    with pytest.raises(ValueError, match=r"vaal trains on the pool, and data\.pool is None"):
        scored(vaal(2, 2, 4), round._replace(data=round.data._replace(pool=None)))
