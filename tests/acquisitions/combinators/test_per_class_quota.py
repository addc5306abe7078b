import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, core_set, entropy, per_class_quota, prefilter, top_k
from al_jax.acquisitions.top_k import select_best
from al_jax.types import Data, Labelled, Round

N, C, B = 24, 3, 8
KEY = jax.random.key(0)
BY_BATCHES = per_class_quota(top_k(bald)._replace(select=lambda *given: select_best(*given)))


def pool(seed, bias=(0.0, 0.0, 0.0)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(N, 4, C)) + rng.normal(size=(N, 1, C)) + np.array(bias)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), rng.random(N) < 0.8


def in_turns(log_probs, scores, available, batch_size):
    classes = np.exp(log_probs).mean(1).argmax(-1)
    members = [[i for i in range(N) if available[i] and classes[i] == c] for c in range(C)]
    queues = [sorted(rows, key=lambda i: -scores[i]) for rows in members]
    picks = []
    while len(picks) < batch_size and any(queues):
        turn = sorted((queue.pop(0) for queue in queues if queue), key=lambda i: -scores[i])
        picks += turn[: batch_size - len(picks)]
    return picks


@pytest.mark.parametrize("bias", [(0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (0.0, 6.0, 0.0)])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", [per_class_quota(bald), BY_BATCHES], ids=["scores", "batches"])
def test_classes_give_their_best_rows_in_turns(seed, bias, method):
    log_probs, available = pool(seed, bias)
    scores = np.asarray(bald(jnp.asarray(log_probs, jnp.float32)))
    acquired = acquire(method, log_probs, B, available)
    assert acquired.indices.tolist() == in_turns(log_probs, scores, available, B)
    np.testing.assert_allclose(acquired.scores, scores[np.asarray(acquired.indices)], atol=1e-6)


@pytest.mark.parametrize("method", [per_class_quota(bald), BY_BATCHES], ids=["scores", "batches"])
def test_a_short_pool_is_emptied(method):
    rng = np.random.default_rng(0)
    classes = jnp.asarray(rng.integers(0, C, N))
    summary = jnp.asarray(rng.normal(size=N)), classes if method is not BY_BATCHES else jax.nn.one_hot(classes, C) > 0
    available = jnp.isin(jnp.arange(N), jnp.array([3, 8, 20]))
    acquired = method.select(KEY, Round(KEY, None, None), summary, available, B)
    assert set(acquired.indices[:3].tolist()) == {3, 8, 20}
    assert len(set(acquired.indices.tolist())) == B
    assert (acquired.scores[3:] == -np.inf).all()


def test_a_batch_method_chooses_within_each_class():
    """Farthest-first in one dimension, by class: the end of each class's rows, from the labelled row at 0."""
    features = jnp.concatenate([jnp.arange(1.0, 13.0), -jnp.arange(1.0, 13.0)])[:, None]
    is_class = jnp.repeat(jnp.eye(2, dtype=bool), 12, axis=0)
    buffer = Labelled(jnp.zeros((1, 1)), jnp.zeros(1, int), jnp.ones(1), jnp.zeros(1, int), jnp.asarray(1))
    round = Round(KEY, None, Data(buffer), None, (jnp.zeros((1, 1)),))
    acquired = per_class_quota(core_set()).select(KEY, round, ((features,), is_class), jnp.ones(N, bool), 4)
    assert {tuple(sorted(acquired.indices[i : i + 2].tolist())) for i in (0, 2)} == {(11, 23), (5, 17)}


def test_a_common_shortlist_is_kept():
    assert per_class_quota(prefilter(entropy, 9, core_set())).shortlist == (entropy, 9)
    assert prefilter(bald, 9, per_class_quota(bald)).shortlist == (bald, 9)
