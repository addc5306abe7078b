"""The digits campaign as a PyTorch user and as a baal user would write it, for `benchmarks.campaign` to compare.

Letters as in `al_jax.types`: N pool rows, n rows, K posterior samples, C classes. Everything runs on the CPU. Data and
initial rows are given, so that nothing of JAX is imported here.
"""

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import structlog
import torch
from baal import ModelWrapper
from baal.active import ActiveLearningDataset, ActiveLearningLoop
from baal.active.heuristics import BALD, AbstractHeuristic, Entropy, Margin, Random
from baal.bayesian.dropout import patch_module
from baal.modelwrapper import TrainingArgs
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset


class Digits(NamedTuple):
    """Arrays of one split: inputs float32, standardised by the mean and std of the pool, labels integers in 0..C-1."""

    pool_x: np.ndarray  # [N, 64]
    pool_y: np.ndarray  # [N]
    test_x: np.ndarray  # [n, 64]
    test_y: np.ndarray  # [n]


@dataclass(frozen=True)
class Config:
    """One campaign: train from scratch, evaluate, score the remaining pool, label, until `max_labels` are labelled.

    Attributes:
      steps: optimiser steps a round.
      batch_size: rows in a minibatch.
      num_samples: K, MC-dropout samples of the pool and of the test set.
      learning_rate: of Adam.
      acquisition_size: rows labelled a round.
      max_labels: labelled rows in the last round, which is trained and evaluated too.
      acquisition: a key of `SCORES` and `HEURISTICS`.
      threads: of PyTorch; None leaves its default, one a core.
    """

    steps: int = 300
    batch_size: int = 32
    num_samples: int = 50
    learning_rate: float = 1e-3
    acquisition_size: int = 10
    max_labels: int = 220
    acquisition: str = "bald"
    threads: int | None = None


Curve = list[tuple[int, float]]
"""(labelled rows, test accuracy in [0, 1]) of every round."""


def network() -> nn.Sequential:
    """MLP 64-128-128-10 with ReLU, and dropout 0.5 after both hidden layers: `x [..., 64] -> logits [..., 10]`."""
    hidden = [layer for width in (64, 128) for layer in (nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.5))]
    return nn.Sequential(*hidden, nn.Linear(128, 10))


def adam(model: nn.Module, config: Config) -> torch.optim.Adam:
    """Adam in its fused form, the quickest of PyTorch's three on the CPU too."""
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)


def train(model: nn.Module, x: Tensor, y: Tensor, config: Config) -> None:
    """`steps` steps on `x [n, 64]`, `y [n]`: shuffled epochs without a gap between them, so minibatches are full."""
    optimizer = adam(model, config)
    rows = config.steps * config.batch_size
    order = torch.cat([torch.randperm(len(x)) for _ in range(-(-rows // len(x)))])[:rows]
    model.train()
    for batch in order.split(config.batch_size):
        optimizer.zero_grad()
        cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()


@torch.inference_mode()
def sample(model: nn.Module, x: Tensor, num_samples: int) -> Tensor:
    """MC dropout, a fresh mask for every row and sample: `x [n, 64] -> probabilities [K, n, C]`.

    All K samples of 256 rows are one batch; larger batches fall out of the caches and are slower.
    """
    model.train()
    return torch.cat([model(rows.expand(num_samples, *rows.shape)).softmax(-1) for rows in x.split(256)], dim=1)


@torch.inference_mode()
def sample_shared(model: nn.Sequential, x: Tensor, num_samples: int) -> Tensor:
    """MC dropout, one mask a sample for all rows: `x [n, 64] -> probabilities [K, n, C]`; what al_jax does, by hand.

    The first layer comes before the first mask: it is computed once, not once a sample.
    """
    first, relu, dropout, second, _, _, last = model
    masks = [dropout.train()(torch.ones(num_samples, 1, layer.in_features)) for layer in (second, last)]
    hidden = relu(first(x))
    samples = [last(relu(second(rows * masks[0])) * masks[1]).softmax(-1) for rows in hidden.split(256)]
    return torch.cat(samples, dim=1)


def bald(probs: Tensor) -> Tensor:
    """`probs [K, n, C]` -> mutual information of label and parameters, in nats, [n]."""
    return torch.special.entr(probs.mean(0)).sum(-1) - torch.special.entr(probs).sum(-1).mean(0)


def entropy(probs: Tensor) -> Tensor:
    """`probs [K, n, C]` -> entropy of their mean, in nats, [n]."""
    return torch.special.entr(probs.mean(0)).sum(-1)


def margin(probs: Tensor) -> Tensor:
    """`probs [K, n, C]` -> minus the difference of the mean's two largest, [n]."""
    largest = probs.mean(0).topk(2).values
    return largest[:, 1] - largest[:, 0]


SCORES: dict[str, Callable[[Tensor], Tensor] | None] = {
    "random": None,
    "entropy": entropy,
    "margin": margin,
    "bald": bald,
}
HEURISTICS: dict[str, Callable[[], AbstractHeuristic]] = {
    "random": Random,
    "entropy": Entropy,
    "margin": Margin,
    "bald": BALD,
}
"""The same of baal, whose `Random` still predicts for the whole pool."""


def pytorch_campaign(
    seed: int, rows: np.ndarray, data: Digits, config: Config, shared_masks: bool = False
) -> tuple[Curve, float]:
    """One seed of the campaign in PyTorch, from the labelled `rows`. Returns the curve and seconds, without imports.

    `shared_masks` samples by `sample_shared`, instead of the `sample` that one writes first.
    """
    draw = sample_shared if shared_masks else sample
    _prepare(seed, config)
    start = time.perf_counter()
    pool_x, test_x = torch.as_tensor(data.pool_x), torch.as_tensor(data.test_x)
    pool_y, test_y = torch.as_tensor(data.pool_y).long(), torch.as_tensor(data.test_y).long()
    labelled = torch.as_tensor(rows).long()
    model = network()

    def evaluate() -> float:
        nonlocal model
        model = network()
        train(model, pool_x[labelled], pool_y[labelled], config)
        return (draw(model, test_x, config.num_samples).mean(0).argmax(-1) == test_y).double().mean().item()

    def acquire(count: int) -> None:
        nonlocal labelled
        unlabelled = torch.ones(len(pool_x), dtype=torch.bool)
        unlabelled[labelled] = False
        candidates, score = unlabelled.nonzero()[:, 0], SCORES[config.acquisition]
        if score is None:
            best = torch.randperm(len(candidates))[:count]
        else:
            best = score(draw(model, pool_x[candidates], config.num_samples)).topk(count).indices
        labelled = torch.cat([labelled, candidates[best]])

    return _rounds(len(rows), evaluate, acquire, config), time.perf_counter() - start


def baal_campaign(seed: int, rows: np.ndarray, data: Digits, config: Config) -> tuple[Curve, float]:
    """One seed of the campaign with baal, from the labelled `rows`, after its MLP example. Returns as above.

    Two choices are kinder to baal than its defaults: no DataLoader worker processes (4 would start in every epoch) and
    no progress bars or log lines.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    _prepare(seed, config)
    start = time.perf_counter()
    mask = np.zeros(len(data.pool_x), dtype=bool)
    mask[rows] = True
    pool = TensorDataset(torch.as_tensor(data.pool_x), torch.as_tensor(data.pool_y).long())
    test = TensorDataset(torch.as_tensor(data.test_x), torch.as_tensor(data.test_y).long())
    labelled = ActiveLearningDataset(pool, labelled=mask)
    model = patch_module(network())
    args = TrainingArgs(batch_size=config.batch_size, criterion=nn.CrossEntropyLoss(), workers=0, use_cuda=False)
    wrapper = ModelWrapper(model, args)
    loop = ActiveLearningLoop(
        labelled,
        wrapper.predict_on_dataset,
        HEURISTICS[config.acquisition](),
        iterations=config.num_samples,
        verbose=False,
    )

    def evaluate() -> float:
        # baal's examples restore one initial draw of the weights in every round. Here, as in the other contenders, a
        # round draws its own: with some seeds BALD on the one draw starves a class, and the curve sinks to 0.8.
        wrapper.reset_all()
        args.optimizer = adam(model, config)
        # baal's budget is in epochs, and its last minibatch is smaller: the nearest number of whole epochs takes the
        # same number of optimiser steps to within half an epoch (300 or 301 with the defaults).
        args.epoch = max(1, round(config.steps / -(-len(labelled) // config.batch_size)))
        wrapper.train_on_dataset(labelled)
        logits = wrapper.predict_on_dataset(test, iterations=config.num_samples, verbose=False)  # [n, C, K]
        return float((softmax(logits, axis=1).mean(-1).argmax(-1) == data.test_y).mean())

    def acquire(count: int) -> None:
        loop.query_size = count
        loop.step()

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True")  # baal's own loss metric
        return _rounds(len(rows), evaluate, acquire, config), time.perf_counter() - start


def _rounds(labelled: int, evaluate: Callable[[], float], acquire: Callable[[int], None], config: Config) -> Curve:
    """Train and evaluate at every count from `labelled` to `max_labels`, labelling rows in between."""
    curve = [(labelled, evaluate())]
    while labelled < config.max_labels:
        count = min(config.acquisition_size, config.max_labels - labelled)
        acquire(count)
        labelled += count
        curve.append((labelled, evaluate()))
    return curve


def _prepare(seed: int, config: Config) -> None:
    """Set threads and seed, after one training step and one sample: PyTorch imports parts of itself on first use."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    model, x = network(), torch.zeros(2, 64)
    train(model, x, torch.zeros(2).long(), Config(steps=1))
    margin(sample(model, x, 2) + sample_shared(model, x, 2))
    torch.manual_seed(seed)
