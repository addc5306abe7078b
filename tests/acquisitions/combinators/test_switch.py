import jax
import jax.numpy as jnp
import numpy as np
import pytest

from al_jax.acquisitions import acquire, bald, core_set, epig, prefilter, random, switch
from al_jax.pool import candidates
from al_jax.types import Data, Labelled, Pool, Predictions, Round

RNG = np.random.default_rng(0)
N, B = 20, 4
LOG_PROBS = np.log(RNG.dirichlet(np.ones(3), (N, 5)))
FEATURES, LABELLED = RNG.normal(size=(N, 2)), RNG.normal(size=(6, 2))
BEST = np.argsort(-np.asarray(bald(jnp.asarray(LOG_PROBS, jnp.float32))))[:B].tolist()


@pytest.mark.parametrize("labelled", [0, 2, 3, 4])
def test_the_second_method_begins_with_the_given_number_of_labels(labelled):
    given = LOG_PROBS, B, None, FEATURES, LABELLED[:labelled]
    acquired = acquire(switch(3, bald, core_set()), *given)
    farthest = acquire(core_set(), *given).indices
    if labelled < 3:
        assert acquired.indices.tolist() == BEST
    else:  # the labelled ones decide: no tie
        assert acquired.indices.tolist() == farthest.tolist() != BEST
    assert acquired.info["part"].tolist() == [int(labelled >= 3)] * B


def one_round(acquisition, count):
    x = jnp.asarray(FEATURES, jnp.float32)
    buffer = Labelled(x[:6], jnp.zeros(6, int), jnp.ones(6), jnp.arange(6), count)
    pool = Pool(x, jnp.arange(N) >= 6)

    def functions(x):
        log_probs = jax.nn.log_softmax(jnp.stack([x, 2 * x, -x], axis=1))
        return Predictions(log_probs, log_probs[:, 0], x)

    round = Round(jax.random.key(0), functions, Data(buffer, None, pool), acquisition.init(jax.random.key(1), pool))
    round = round._replace(context=acquisition.prepare(jax.random.key(2), round))
    offered = candidates(jax.random.key(3), acquisition, round, x, pool.available, 7)
    return acquisition.select(jax.random.key(4), round, offered.summary, offered.available, B)


def test_seeds_in_both_phases_share_one_program():
    acquisition = switch(3, bald, core_set())
    apart = [jax.jit(lambda c: one_round(acquisition, c))(jnp.asarray(count)) for count in (2, 4)]
    together = jax.jit(jax.vmap(lambda c: one_round(acquisition, c)))(jnp.asarray([2, 4]))
    for i, alone in enumerate(apart):
        assert together.indices[i].tolist() == alone.indices.tolist()
    assert together.info["part"][:, 0].tolist() == [0, 1]


def test_memory_and_context_reach_their_own_method():
    for labels, part in ((0, 1), (9, 0)):
        picked = one_round(switch(labels, core_set(), epig(4)), jnp.asarray(4))
        assert picked.info["part"].tolist() == [part] * B
        assert np.isfinite(picked.scores).all()


def test_the_network_is_not_evaluated_for_the_method_whose_turn_it_is_not():
    calls = []

    def predicted(x):
        calls.append(len(x))
        return np.log(np.full((len(x), 2, 3), 1 / 3, np.float32))

    def functions(x):
        shape = jax.ShapeDtypeStruct((len(x), 2, 3), jnp.float32)
        log_probs = jax.pure_callback(predicted, shape, x)
        return Predictions(log_probs, log_probs[:, 0])

    buffer = Labelled(jnp.zeros((1, 2)), jnp.zeros(1, int), jnp.ones(1), jnp.zeros(1, int), 0)
    acquisition = switch(3, random(), bald)

    @jax.jit
    def summary(count):
        round = Round(jax.random.key(0), functions, Data(buffer._replace(count=count)))
        return acquisition.summarise(round, jnp.asarray(FEATURES), jnp.arange(N))

    jax.block_until_ready(summary(0))
    assert calls == []
    jax.block_until_ready(summary(3))
    assert calls == [N]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="labels=-1"):
        switch(-1, bald, random())
    with pytest.raises(ValueError, match="different shortlists"):
        switch(5, bald, prefilter(bald, 4, core_set()))
