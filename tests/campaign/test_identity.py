"""A results folder continues the campaign it was begun with, and no other; one process at a time."""

import dataclasses
import subprocess
import sys
from typing import Any

import flax.linen as nn
import numpy as np
import optax
import pytest
from conftest import TRAINING

from al_jax import acquisitions as aq
from al_jax.campaign import Settings, run
from al_jax.campaign.identity import described, identity
from al_jax.campaign.store import StoreError, locked, open_store
from al_jax.likelihood import categorical, gaussian
from al_jax.models import MLP
from al_jax.posteriors import ensemble, mc_dropout, point

START = np.arange(6)[None]
SETTINGS = Settings(seeds=1, initial_labels=6, batch_size=4, max_labels=14, num_samples=4)


def network(**attributes: Any) -> nn.Module:
    return MLP(3, **{"hidden": (8,)} | attributes)


def made(**change: Any) -> tuple[Any, ...]:
    """Posterior, acquisition, likelihood and settings of one campaign; each argument changes one thing."""
    training = change.get("training", TRAINING)
    posterior = change.get("posterior") or mc_dropout(change.get("network", network()), categorical(), training)
    settings = dataclasses.replace(SETTINGS, **change.get("settings", {}))
    return posterior, change.get("acquisition", aq.top_k(aq.bald)), settings


def mine(log_probs):
    return log_probs.max((-1, -2))


def mine_too(log_probs):
    return log_probs.min((-1, -2))


mine_too.__name__, mine_too.__qualname__ = mine.__name__, mine.__qualname__

CHANGES = {
    "posterior": [
        {"network": network(hidden=(9,))},
        {"network": network(dropout=0.4)},
        {"training": dataclasses.replace(TRAINING, optimizer=optax.adam(2e-2))},
        {"training": dataclasses.replace(TRAINING, steps=21)},
        {"posterior": point(network(), categorical(), TRAINING)},
        {"posterior": ensemble(mc_dropout(network(), categorical(), TRAINING), 2)},
    ],
    "acquisition": [
        {"acquisition": aq.top_k(aq.entropy)},
        {"acquisition": aq.batchbald(100)},
        {"acquisition": aq.prefilter(aq.bald, 20, aq.core_set())},
        {"acquisition": aq.epig(8)},
    ],
    "batch_size": [{"settings": {"batch_size": 3}}],
    "num_samples": [{"settings": {"num_samples": 5}}],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, of in CHANGES.items() for change in of])
def test_whatever_changes_a_campaign_changes_its_identity(dataset, name, change):
    def of(**change: Any) -> dict[str, Any]:
        posterior, acquisition, settings = made(**change)
        return identity(posterior, acquisition, None, dataset, settings, START)

    before, after = of(), of(**change)
    assert {key for key in before if before[key] != after[key]} == {name}
    assert of(**change) == after, "made anew, it is the same"


def test_functions_count_by_what_they_do_and_data_by_their_content(dataset):
    assert described(mine) != described(mine_too)
    assert described(aq.top_k(mine)) != described(aq.top_k(mine_too))
    assert described(aq.epig(np.ones((3, 2)))) != described(aq.epig(np.zeros((3, 2))))
    assert described(gaussian(1.0)) != described(gaussian(2.0))
    posterior, acquisition, settings = made()
    other = dataset._replace(labels=np.roll(dataset.labels, 1))
    now, then = (identity(posterior, acquisition, None, data, settings, START) for data in (dataset, other))
    assert {name for name in now if now[name] != then[name]} == {"data"}
    elsewhere = identity(posterior, acquisition, None, dataset, settings, START + 1)
    assert {name for name in now if now[name] != elsewhere[name]} == {"initial"}


def test_another_process_finds_the_same_identity(tmp_path):
    program = """
import numpy as np
import optax
from al_jax import acquisitions as aq, campaign, data
from al_jax.campaign.identity import identity
from al_jax.likelihood import categorical
from al_jax.models import MLP
from al_jax.posteriors import ensemble, mc_dropout
from al_jax.training import Training
posterior = ensemble(mc_dropout(MLP(10, (8,)), categorical(), Training(optax.adam(1e-3), steps=3)), 2)
acquisition = aq.prefilter(lambda p: p.max((1, 2)) in {"a", "b"}, 20, aq.badge())
print(identity(posterior, acquisition, None, data.digits(), campaign.Settings(), np.arange(3)))
"""
    told = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(told) == 1, "hashes of strings differ from process to process"


class Killed(Exception):
    pass


def begun(dataset, directory) -> None:
    """One finished round, then the oracle dies."""
    asked = []

    def dies(rows):
        asked.append(rows)
        if len(asked) == 2:
            raise Killed
        return dataset.labels[rows], np.ones(rows.shape, bool)

    posterior, acquisition, settings = made()
    with pytest.raises(Killed):
        run(posterior, acquisition, dataset, settings, oracle=dies, results=open_store(directory, {"mine": 1}))


def test_a_folder_does_not_continue_another_campaign(dataset, tmp_path, monkeypatch):
    begun(dataset, tmp_path)
    before = (tmp_path / "rounds.csv").read_bytes()

    def compiled(*_: Any) -> None:
        raise AssertionError("compiled before the checkpoint was looked at")

    with monkeypatch.context() as patched:
        patched.setattr("al_jax.campaign.loop.compile_cycle", compiled)
        for change in (*CHANGES["posterior"][:2], *CHANGES["acquisition"][:2], *CHANGES["batch_size"]):
            (name,) = [name for name, of in CHANGES.items() if change in of]
            posterior, acquisition, settings = made(**change)
            store = open_store(tmp_path, {"mine": 1}, resume=True)
            with pytest.raises(StoreError, match=rf"holds another campaign \({name} was .*, is .*\)"):
                run(posterior, acquisition, dataset, settings, results=store)
    assert (tmp_path / "rounds.csv").read_bytes() == before
    posterior, acquisition, settings = made()
    done = run(posterior, acquisition, dataset, settings, results=open_store(tmp_path, {"mine": 1}, resume=True))
    assert done.rounds.num_labelled.tolist() == [6, 10, 14]


def test_a_file_system_without_locks_is_told_of_and_used(dataset, tmp_path, monkeypatch):
    def unsupported(*_: Any, **__: Any) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", unsupported)
    with pytest.warns(RuntimeWarning, match="on a file system without locks: nothing keeps a second process out"):
        begun(dataset, tmp_path)
    assert (tmp_path / "rounds.csv").exists()


def test_a_second_process_is_refused_and_the_end_of_the_first_however_it_comes_frees_the_folder(dataset, tmp_path):
    begun(dataset, tmp_path)
    hold = (
        "import sys, time; from al_jax.campaign.store import locked, open_store\n"
        "with locked(open_store(sys.argv[1], {'mine': 1}, resume=True)):\n"
        "    print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        posterior, acquisition, settings = made()
        with pytest.raises(StoreError, match=r"is in use by another process: expected one at a time"):
            run(posterior, acquisition, dataset, settings, results=open_store(tmp_path, {"mine": 1}, resume=True))
        other.kill()
        other.wait()
    run(posterior, acquisition, dataset, settings, results=open_store(tmp_path, {"mine": 1}, resume=True))
    with locked(open_store(tmp_path, {"mine": 1}, resume=True)):
        pass
