"""One round: keys fold in by round, labelled rows leave the pool for good, surplus answers change nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from al_jax import acquisitions as aq
from al_jax.engine.cycle import cycle
from al_jax.engine.learning import Sizes
from al_jax.likelihood import categorical
from al_jax.testing import lowered
from al_jax.types import Data, Labelled

BATCH, BUDGET, POOL = 4, 14, 48
KEY = jax.random.key(0)


def labelled(inputs, labels) -> Labelled:
    return Labelled(inputs, labels, jnp.ones(len(labels)), jnp.arange(len(labels)), jnp.asarray(len(labels)))


def programs(acquisition=None, **options):
    options = {"batch_size": BATCH, "num_samples": 5, "max_labels": BUDGET, "chunk_size": 20} | options
    return cycle(tiny("mc_dropout"), acquisition or aq.top_k(aq.bald), categorical(), Sizes(**options))


@pytest.fixture(scope="module")
def start(dataset):
    rows = jnp.array([3, 7, 11])
    state = programs().init(KEY, dataset.inputs, rows, jnp.asarray(dataset.labels)[rows])
    return state, labelled(dataset.test_inputs, dataset.test_labels)


def partition(state) -> tuple[set, set, set]:
    rows = np.asarray(state.labelled.rows)[: int(state.labelled.count)].tolist()
    assert len(set(rows)) == len(rows), "no row is labelled twice"
    available = set(np.flatnonzero(state.available).tolist())
    known = {row for row in rows if row >= 0}
    assert not known & available
    return known, available, set(range(POOL)) - known - available


def test_begin_with_labelled_available_and_excluded_rows(dataset):
    rows = jnp.array([3, 7])
    mask = jnp.arange(POOL) < 20
    state = programs().init(KEY, dataset.inputs, rows, jnp.asarray(dataset.labels)[rows], mask)
    known, available, excluded = partition(state)
    assert known == {3, 7}
    assert available == set(range(20)) - {3, 7}
    assert excluded == set(range(20, POOL))
    np.testing.assert_array_equal(state.labelled.inputs[:2], dataset.inputs[[3, 7]])
    np.testing.assert_array_equal(state.labelled.labels[:2], dataset.labels[[3, 7]])
    assert (state.labelled.rows[2:] == -1).all()


def test_begin_with_nothing_labelled(dataset, start):
    program = programs()
    state = program.init(KEY, dataset.inputs, jnp.zeros(0, int), jnp.zeros(0, int))
    _, info = jax.jit(program.propose)(state, dataset.inputs, None, start[1])
    assert info.num_labelled == 0
    assert info.valid.all()
    assert np.isfinite(info.metrics["nll"])


def test_a_campaign_is_compiled_once_and_never_acquires_a_row_twice(dataset, start):
    state, test = start
    program = programs()
    propose = jax.jit(chex.assert_max_traces(program.propose, n=1))
    absorb = jax.jit(chex.assert_max_traces(program.absorb, n=1))
    seen = {3, 7, 11}
    for expected in (3, 7, 11, 14):
        state, info = propose(state, dataset.inputs, None, test)
        assert info.num_labelled == expected, "metrics belong to the labels before the batch"
        rows = np.asarray(info.rows)
        assert not seen & set(rows.tolist())
        assert info.valid.all()
        state = absorb(state, dataset.inputs[rows], info.rows, dataset.labels[rows], info.valid)
        known, _, excluded = partition(state)
        seen |= set(rows[: min(BATCH, BUDGET - expected)].tolist())
        assert known == seen
        assert not excluded
    count = int(state.labelled.count)
    assert count == BUDGET, "the last batch is taken in part"
    np.testing.assert_array_equal(state.labelled.labels[:count], dataset.labels[state.labelled.rows[:count]])
    np.testing.assert_array_equal(state.labelled.inputs[:count], dataset.inputs[state.labelled.rows[:count]])


ABSORB = jax.jit(programs().absorb)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(-1, POOL - 1), min_size=BATCH, max_size=BATCH),
            st.lists(st.booleans(), min_size=BATCH, max_size=BATCH),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_is_answered_the_rows_partition_the_pool(start, dataset, batches):
    state, _ = start
    _, _, excluded = partition(state)
    for rows, valid in batches:
        before, room = int(state.labelled.count), BUDGET - int(state.labelled.count)
        known, available, _ = partition_with_generated(state)
        wanted = []
        for row, answered in zip(rows, valid, strict=True):
            if answered and (row == -1 or (row in available and row not in wanted)) and len(wanted) < room:
                wanted.append(row)
        labels = np.asarray(rows) % 3
        state = ABSORB(state, dataset.inputs[rows], jnp.asarray(rows), jnp.asarray(labels), jnp.asarray(valid))
        after = np.asarray(state.labelled.rows)[before : int(state.labelled.count)].tolist()
        assert after == wanted, "the accepted rows, in their order"
        new_known, _, still_excluded = partition_with_generated(state)
        assert new_known == known | {row for row in wanted if row >= 0}
        assert still_excluded == excluded


def partition_with_generated(state):
    rows = np.asarray(state.labelled.rows)[: int(state.labelled.count)]
    pool_rows = rows[rows >= 0].tolist()
    assert len(set(pool_rows)) == len(pool_rows)
    available = set(np.flatnonzero(state.available).tolist())
    known = set(pool_rows)
    assert not known & available
    return known, available, set(range(POOL)) - known - available


def test_skipped_rows_stay_in_the_pool(dataset, start):
    state, _ = start
    rows = jnp.array([20, 21, 22, 23])
    valid = jnp.array([False, True, False, True])
    state = ABSORB(state, dataset.inputs[rows], rows, jnp.asarray(dataset.labels)[rows], valid)
    known, available, _ = partition(state)
    assert known == {3, 7, 11, 21, 23}
    assert {20, 22} <= available
    np.testing.assert_array_equal(state.labelled.labels[3:5], dataset.labels[[21, 23]])


def test_rounds_have_different_randomness_and_a_round_is_reproducible(dataset, start):
    state, test = start
    propose = jax.jit(programs(aq.random()).propose)
    first, again = (propose(state, dataset.inputs, None, test)[1] for _ in range(2))
    later = propose(state._replace(round=state.round + 1), dataset.inputs, None, test)[1]
    np.testing.assert_array_equal(first.rows, again.rows)
    assert set(first.rows.tolist()) != set(later.rows.tolist())
    assert first.metrics["nll"] != later.metrics["nll"], "trained from scratch with another key"


def test_two_acquisitions_train_the_same_network_on_the_same_rows(dataset, start):
    state, test = start
    infos = [jax.jit(programs(a).propose)(state, dataset.inputs, None, test)[1] for a in (aq.random(), aq.core_set())]
    np.testing.assert_array_equal(infos[0].metrics["nll"], infos[1].metrics["nll"])


def test_a_pool_smaller_than_the_batch_is_marked(dataset, start):
    state, test = start
    few = state._replace(available=jnp.arange(POOL) < 2)
    _, info = jax.jit(programs().propose)(few, dataset.inputs, None, test)
    assert sorted(info.rows[info.valid].tolist()) == [0, 1]
    assert info.valid.sum() == 2
    assert np.isneginf(info.scores[~info.valid]).all()


def test_a_pool_subset_offers_available_rows_and_reports_pool_rows(dataset, start):
    """Subset ranks must not be taken for pool rows: the score here is the row's own number."""
    state, test = start
    numbered = aq.top_k(aq.bald)._replace(summarise=lambda round, x, rows: rows.astype(jnp.float32))
    propose = jax.jit(programs(numbered, pool_subset=10).propose)
    unlabelled = state._replace(available=(jnp.arange(POOL) % 2 == 1) & state.available)
    highest = np.flatnonzero(unlabelled.available)[-BATCH:][::-1].tolist()
    picked = []
    for number in range(5):
        _, info = propose(unlabelled._replace(round=jnp.asarray(number)), dataset.inputs, None, test)
        np.testing.assert_array_equal(info.rows, info.scores)
        assert np.asarray(unlabelled.available)[info.rows].all()
        picked.append(info.rows.tolist())
    assert len({tuple(rows) for rows in picked}) > 1, "another subset every round"
    assert any(rows != highest for rows in picked), "ten random rows, not all"


def test_metrics_are_of_the_mean_over_samples_or_of_the_point(dataset, start):
    state, test = start
    posterior = tiny("mc_dropout")
    for evaluate in ("samples", "point"):
        fitted, info = jax.jit(programs(evaluate=evaluate).propose)(state, dataset.inputs, None, test)
        if evaluate == "point":
            log_p = posterior.predict(fitted.posterior, jax.random.split(KEY, 1), dataset.test_inputs).point
            np.testing.assert_allclose(
                info.metrics["accuracy"], np.mean(log_p.argmax(-1) == dataset.test_labels), rtol=1e-6
            )
            expected = -np.mean(np.asarray(log_p)[np.arange(30), dataset.test_labels])
            np.testing.assert_allclose(info.metrics["nll"], expected, rtol=1e-5)
        else:
            samples = info.metrics["nll"]
    assert samples != info.metrics["nll"]


def test_warm_start_continues_from_the_last_parameters(dataset, start):
    _, test = start
    rows = jnp.array([3, 7, 11])
    losses = {}
    for warm in (False, True):
        program = programs(aq.random(), warm_start=warm)
        state = program.init(KEY, dataset.inputs, rows, jnp.asarray(dataset.labels)[rows])
        propose = jax.jit(program.propose)
        for _ in range(6):  # no answers: the same three rows again and again
            state, info = propose(state, dataset.inputs, None, test)
        losses[warm] = float(info.fit["loss"])
    assert losses[True] < 0.5 * losses[False]


def test_the_acquisition_s_memory_is_made_once_and_read_by_row(dataset, start):
    state, test = start
    remembered = aq.top_k(aq.bald)._replace(
        init=lambda key, pool: jnp.arange(POOL)[::-1] * 1.0,
        summarise=lambda round, x, rows: round.memory[rows],
    )
    program = programs(remembered)
    state = program.init(KEY, dataset.inputs, jnp.array([0, 3]), jnp.array([0, 0]))
    _, info = jax.jit(program.propose)(state, dataset.inputs, None, test)
    assert info.rows.tolist() == [1, 2, 4, 5]


def test_random_acquisition_pays_for_no_pool_inference(start):
    _, test = start
    pool = jnp.zeros((4000, 2))

    def flops(acquisition):
        program = programs(acquisition, chunk_size=4000)
        big = program.init(KEY, pool, jnp.array([1]), jnp.array([0]))
        return jax.jit(program.propose).lower(big, pool, None, test).compile().cost_analysis()["flops"]

    inference = 4000 * 5 * 2 * 8 * 3
    assert flops(aq.top_k(aq.bald)) - flops(aq.random()) > inference


@pytest.mark.parametrize("name", ["mc_dropout", "ensemble", "variational"])
def test_the_round_lowers_for_tpu_and_cuda(dataset, start, name):
    from al_jax.testing import lowered

    _, test = start
    program = cycle(
        tiny(name),
        aq.prefilter(aq.bald, 20, aq.core_set()),
        categorical(),
        Sizes(BATCH, num_samples=5, max_labels=BUDGET),
    )
    rows = jnp.array([[3, 7], [4, 8]])
    keys = jax.random.split(KEY, 2)
    states = jax.vmap(program.init, in_axes=(0, None, 0, 0))(keys, dataset.inputs, rows, rows % 3)
    text = lowered(jax.vmap(program.propose, in_axes=(0, None, None, None)), states, dataset.inputs, None, test)
    highest = [line for line in text.splitlines() if "stablehlo.dot_general" in line and "HIGHEST" in line]
    assert highest, "core-set's distances"
    batch = (
        jnp.zeros((2, BATCH, 2)),
        jnp.zeros((2, BATCH), int),
        jnp.zeros((2, BATCH), int),
        jnp.ones((2, BATCH), bool),
    )
    lowered(jax.vmap(program.absorb), states, *batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"chunk_size": 0}, "chunk_size=0"),
        ({"pool_subset": 2}, "pool_subset=2: expected at least batch_size=4"),
        ({"evaluate": "mean"}, "evaluate='mean'"),
    ],
)
def test_impossible_rounds_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        programs(**options)


def test_fewer_samples_for_the_metrics_change_no_pick(dataset, start):
    state, test = start
    few, all_samples = (
        jax.jit(programs(num_samples=40, test_samples=k).propose)(state, dataset.inputs, None, test)[1] for k in (2, 40)
    )
    np.testing.assert_array_equal(few.rows, all_samples.rows)
    np.testing.assert_array_equal(few.scores, all_samples.scores)
    assert few.metrics["nll"] != all_samples.metrics["nll"]
    with pytest.raises(ValueError, match=r"test_samples=41: expected 1 to 40"):
        programs(num_samples=40, test_samples=41)


def test_everything_after_the_fit_is_in_full_float32_precision_on_a_tpu(dataset, start):
    """By default it multiplies in bfloat16; training may, predictions and scores may not."""
    state, test = start
    posterior = tiny("mc_dropout")

    def products(function, *args) -> list[bool]:
        lines = lowered(function, *args).splitlines()
        return ["HIGHEST" in line for line in lines if "stablehlo.dot_general" in line]

    fit = products(lambda labelled: posterior.fit(KEY, posterior.init(KEY, labelled.inputs), Data(labelled)), test)
    everything = products(programs().propose, state, dataset.inputs, None, test)
    assert fit.count(True) == 0
    assert fit.count(False) > 0
    assert everything.count(False) == fit.count(False)
    assert everything.count(True) >= 4, "two layers, for the test set and for the pool"
