"""A pool on the host: rows, scores and metrics of a pool on the device, read piece by piece and once a round."""

import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax.data import with_validation
from al_jax.engine import parallel
from al_jax.engine.compiled import compile_cycle
from al_jax.engine.cycle import cycle, steps
from al_jax.engine.host_pass import is_read, read_ahead
from al_jax.engine.host_pool import compile_host_pool
from al_jax.engine.learning import Sizes
from al_jax.likelihood import categorical
from al_jax.sweep import Repetition

POOL, SEEDS, INITIAL, BATCH, CHUNK = 48, 3, 6, 4, 7  # neither chunks of 7 nor pieces of 14 rows divide the pool
OPTIONS = {"batch_size": BATCH, "num_samples": 4, "max_labels": 14, "chunk_size": CHUNK}
REPETITIONS = [Repetition(seed, {}) for seed in range(SEEDS)]
ROWS = np.stack([np.arange(INITIAL) + 5 * seed for seed in range(SEEDS)]).astype(np.int32)
BALD = aq.top_k(aq.bald)
LAYOUT = parallel.layout(SEEDS, 2)  # two groups, the second padded with a seed


class Watched:
    """An array that notes the rows that are read of it, and that cannot be read whole."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.reads: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        self.reads.append(np.arange(len(self))[rows].ravel())
        return self.array[rows]

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("the pool was read whole")


@pytest.fixture
def stored(dataset, tmp_path):
    """The data set with its pool in a read-only file, in this type."""

    def store(dtype=np.float32):
        inputs = dataset.inputs
        path = tmp_path / "pool.npy"
        np.save(path, (inputs * 20 + 128).clip(0, 255).astype(dtype) if dtype == np.uint8 else inputs.astype(dtype))
        return dataset._replace(inputs=np.load(path, mmap_mode="r"))

    return store


def on_host(posterior, acquisition, dataset, **options):
    """The pool and the campaign that is compiled for it, in pieces of two chunks."""
    watched = Watched(dataset.inputs)
    piece_bytes = 2 * CHUNK * dataset.inputs[:1].nbytes
    program = steps(posterior, acquisition, categorical(), Sizes(**OPTIONS | options))
    arguments = program, dataset._replace(inputs=watched), REPETITIONS, ROWS, BATCH, LAYOUT, piece_bytes
    return watched, compile_host_pool(*arguments)


def on_device(posterior, acquisition, dataset, **options):
    program = cycle(posterior, acquisition, categorical(), Sizes(**OPTIONS | options))
    return compile_cycle(program, dataset, REPETITIONS, ROWS, BATCH, LAYOUT)


def play(compiled, dataset):
    """What all rounds report, and the last state."""
    states, infos = compiled.states, []
    for _ in range(3):
        states, info = compiled.propose(states)
        infos.append(info)
        states = compiled.absorb(states, info.rows, dataset.labels[info.rows], info.valid, ~info.valid)
    return infos, compiled.join(states)


CASES = {
    "bald": ("mc_dropout", BALD, np.uint8, {}),
    "core-set": ("variational", aq.core_set(), np.float32, {}),
    "random": ("debal", aq.random(), np.float32, {}),
    "prefilter within a subset": (
        "ensemble",
        aq.prefilter(aq.bald, 12, aq.core_set()),
        np.float32,
        {"pool_subset": 25},
    ),
    "warm start": ("point", aq.stochastic_top_k(aq.entropy), np.float64, {"warm_start": True, "evaluate": "point"}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pool_on_the_host_gives_what_a_pool_on_the_device_gives(stored, case):
    name, acquisition, dtype, options = CASES[case]
    dataset = with_validation(stored(dtype), 12) if case == "warm start" else stored(dtype)
    watched, host = on_host(tiny(name), acquisition, dataset, **options)
    device = on_device(tiny(name), acquisition, dataset, **options)
    (infos, state), (expected_infos, expected_state) = (play(compiled, dataset) for compiled in (host, device))
    for info, expected in zip(infos, expected_infos, strict=True):
        np.testing.assert_array_equal(info.rows, expected.rows)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), info, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state, expected_state)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), compiled.info) for compiled in (host, device)]
    assert shapes[0] == shapes[1]
    assert max(map(len, watched.reads)) <= SEEDS * INITIAL, "pieces of 14 rows, batches of 12; 18 to begin with"
    if case == "random":
        assert set(np.concatenate(watched.reads)) == set(state.labelled.rows[state.labelled.rows >= 0])
    if case == "bald":
        pieces = sum(map(len, watched.reads)) - SEEDS * (INITIAL + 4 * BATCH)  # batches: one to compile, three rounds
        assert pieces == 3 * POOL, "once a round for both groups of seeds"


def test_a_shortlist_reads_every_row_once_and_random_within_it_none_again(stored):
    watched, compiled = on_host(tiny("point"), aq.prefilter(aq.entropy, 12, aq.random()), stored())
    watched.reads.clear()
    compiled.propose(compiled.states)
    np.testing.assert_array_equal(np.concatenate(watched.reads), np.arange(POOL))


def test_nothing_is_traced_or_compiled_once_the_campaign_is(stored, caplog):
    dataset, traces = stored(), []

    def summarise(round, x, rows):
        traces.append(rows.shape)
        return round.memory[rows]

    memory = BALD._replace(init=lambda key, pool: jnp.arange(POOL)[::-1] * 1.0, summarise=summarise)
    watched, compiled = on_host(tiny("point"), memory, dataset)
    before, batches = len(traces), []
    watched.reads.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax._src.dispatch"):
        states = compiled.states
        for _ in range(3):
            states, info = compiled.propose(states)
            states = compiled.absorb(states, info.rows, dataset.labels[info.rows], info.valid, ~info.valid)
            batches.append(info.rows)
    assert len(traces) == before
    assert not [r for r in caplog.records if "Finished XLA compilation" in r.getMessage()]
    assert batches[0].tolist() == [[6, 7, 8, 9], [0, 1, 2, 3], [0, 1, 2, 3]], "an init that does without the pool"
    assert set(np.concatenate(watched.reads)) == set(np.ravel(batches)), "and a memory does without the rows"


def reads_in_prepare(key, round):
    return jnp.mean(round.data.pool.inputs, axis=0)


def reads_in_summarise(round, x, rows):
    return x[:, 0] - round.data.pool.inputs[0, 0]


def reads_in_select(key, round, summary, available, batch_size):
    inputs, _ = round.data.pool
    return BALD.select(key, round, summary + inputs[0, 0], available, batch_size)


READERS = {
    r"acquisition\.init \(.*<lambda>\)": BALD._replace(init=lambda key, pool: pool.inputs[:, 0]),
    r"acquisition\.prepare \(reads_in_prepare\)": BALD._replace(prepare=reads_in_prepare),
    r"acquisition\.summarise \(reads_in_summarise\)": BALD._replace(summarise=reads_in_summarise),
    r"acquisition\.select \(reads_in_select\)": BALD._replace(select=reads_in_select),
}


@pytest.mark.parametrize("named", READERS)
def test_an_acquisition_that_reads_the_whole_pool_is_refused_by_name_before_any_work(dataset, named):
    watched = Watched(dataset.inputs)
    program = steps(tiny("point"), READERS[named], categorical(), Sizes(**OPTIONS))
    with pytest.raises(ValueError, match=named + ' reads the whole pool, .*: use pool_on="device"'):
        compile_host_pool(program, dataset._replace(inputs=watched), REPETITIONS, ROWS, BATCH, LAYOUT)
    assert not watched.reads


def test_a_posterior_that_reads_the_whole_pool_is_refused(dataset):
    posterior = tiny("point")

    def semi_supervised(key, state, data):
        return posterior.fit(key, jax.tree.map(lambda leaf: leaf + data.pool.inputs.mean(), state), data)

    with pytest.raises(ValueError, match=r"posterior\.fit \(.*semi_supervised\) reads the whole pool"):
        on_host(posterior._replace(fit=semi_supervised), BALD, dataset)


def test_other_errors_stay_what_they_are(dataset):
    def broken(round, x, rows):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        on_host(tiny("point"), BALD._replace(summarise=broken), dataset)


def test_rows_are_read_when_anything_is_computed_from_them():
    x = {"a": jnp.ones((3, 2)), "b": jnp.ones(3)}
    assert not is_read(lambda x, y: jnp.zeros(len(x["a"])) + y, x, jnp.ones(3))
    assert is_read(lambda x, y: x["b"] + y, x, jnp.ones(3))
    assert is_read(lambda x, y: x["a"], x, jnp.ones(3))


def test_one_piece_is_read_ahead_and_an_error_of_the_reader_is_raised():
    read = []
    pieces = read_ahead(lambda n: read.append(n) or 1 // (3 - n), [(n,) for n in range(5)])
    assert next(pieces) == 0
    assert read in ([0], [0, 1])
    with pytest.raises(ZeroDivisionError):
        list(pieces)
    assert read == [0, 1, 2, 3]
