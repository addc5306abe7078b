"""The quickstart compares campaigns; killed between two of them it goes on with the second."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import command_line
import pandas as pd
import pytest
from command_line import contents, finish, kill_when, only_run

from al_jax import campaign
from al_jax.campaign import store
from al_jax.results import paired_difference
from experiments import quickstart

SMALL = ["--acquisitions", "random", "bald", "--network", "mlp(hidden=(8,))", "--training", "adam, steps=5"]
SMALL += ["--num-samples", "3", "--seeds", "2", "--batch-size", "20", "--max-labels", "80"]
PAIRS = [(method, seed) for method in ("random", "bald") for seed in (0, 1)]
FILES = ("config.json", "environment.json", "rounds.csv", "acquired.csv", "learning_curve.png", "summary.json")


def start(environment: dict[str, str], results: Path, *options: str) -> subprocess.Popen[str]:
    return command_line.start(environment, "quickstart", *SMALL, *options, "--results-dir", str(results))


@pytest.fixture(scope="module")
def uninterrupted(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("uninterrupted")
    code, out, err = finish(start(environment, results))
    assert code == 0, err
    assert "random" in out
    assert "bald" in out
    return only_run(results)


@pytest.fixture(scope="module")
def killed(environment: dict[str, str], uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that SIGKILL ended between its two campaigns."""
    results = tmp_path_factory.mktemp("killed")
    kill_when(start(environment, results), lambda: any(results.glob("quickstart/*/random/summary.json")))
    directory = only_run(results)
    assert store.finished(directory / "random")
    assert not store.finished(directory / "bald")
    assert not store.finished(directory)
    return directory


def main(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """The program's main in this process."""
    monkeypatch.setattr(sys, "argv", ["quickstart", *SMALL, *options])
    quickstart.main()


def test_it_writes_its_comparison_and_a_folder_for_each_campaign(uninterrupted: Path) -> None:
    for name in FILES:
        assert (uninterrupted / name).stat().st_size > 2
    assert sorted(p.name for p in uninterrupted.iterdir()) == sorted([*FILES, "random", "bald"])
    rounds, acquired = (pd.read_csv(uninterrupted / f"{name}.csv") for name in ("rounds", "acquired"))
    assert rounds.groupby(["method", "seed"]).size().to_dict() == dict.fromkeys(PAIRS, 4)
    assert acquired.groupby("method").size().to_dict() == {"random": 160, "bald": 160}, "initial rows included"
    assert json.loads((uninterrupted / "summary.json").read_text()) == {"stopped": {}}
    stored = json.loads((uninterrupted / "config.json").read_text())
    assert uninterrupted.name == store.fingerprint(stored)
    assert {name: of_name["acquisition"] for name, of_name in stored.items()} == {"random": "random", "bald": "bald"}


def test_the_campaigns_are_paired(uninterrupted: Path) -> None:
    """Equal seeds begin with equal rows, networks and draws, so that the first metrics agree to the bit."""
    first = pd.read_csv(uninterrupted / "rounds.csv", dtype=str).query("round == '0'")
    accuracy = first.pivot(index="seed", columns="method", values="accuracy")
    assert (accuracy["random"] == accuracy["bald"]).all()


def test_killed_between_the_campaigns_it_resumes(
    environment: dict[str, str], uninterrupted: Path, killed: Path, tmp_path: Path
) -> None:
    results = shutil.copytree(killed.parent.parent, tmp_path / "results")
    before = contents(only_run(results) / "random")
    code, _, err = finish(start(environment, results, "--resume"))
    assert code == 0, err
    resumed = only_run(results)
    assert contents(resumed / "random") == before  # not repeated
    assert (resumed / "acquired.csv").read_bytes() == (uninterrupted / "acquired.csv").read_bytes()
    rounds = [pd.read_csv(d / "rounds.csv", dtype=str).drop(columns="seconds") for d in (resumed, uninterrupted)]
    assert rounds[0].equals(rounds[1])
    assert (resumed / "summary.json").read_bytes() == (uninterrupted / "summary.json").read_bytes()


def test_unfinished_it_is_refused_without_resume(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(killed)
    with pytest.raises(store.StoreError, match=r"^[^\n]*unfinished run[^\n]*--resume$"):
        main(monkeypatch, "--results-dir", str(killed.parent.parent))
    assert contents(killed) == before


@pytest.fixture
def _no_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs a campaign fails."""

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a campaign was run")

    monkeypatch.setattr(campaign, "run", run)


@pytest.mark.usefixtures("_no_campaign")
def test_finished_it_is_recognised(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(uninterrupted)
    main(monkeypatch, "--results-dir", str(uninterrupted.parent.parent))
    assert "finished" in capsys.readouterr().out
    assert contents(uninterrupted) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--acquisitions", "random", "bold"],
            "'bold' is unknown: did you mean 'bald'",
        ),
        (["--max-labels", "2000"], "max_labels=2000: expected"),
        (["--network", "mlp(dropout=0)"], "dropout"),
    ],
)
@pytest.mark.usefixtures("_no_campaign")
def test_a_bad_input_leaves_no_folder(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when only the last of its campaigns cannot run."""
    with pytest.raises(ValueError, match=message):
        main(monkeypatch, *options, "--results-dir", str(tmp_path / "results"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_campaign")
def test_a_dry_run_runs_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(monkeypatch, "--dry-run", "--results-dir", str(tmp_path / "results"))
    assert capsys.readouterr().out.count("rounds a seed") == 2
    assert list(tmp_path.iterdir()) == []


def test_bald_beats_random_on_digits_over_8_paired_seeds(tmp_path: Path) -> None:
    """The quickstart itself, as a user runs it, without the suite's compiler flags."""
    command = [sys.executable, "-m", "experiments.quickstart", "--acquisitions", "random", "bald"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run(
        [*command, "--results-dir", str(tmp_path)], cwd=command_line.ROOT, env=environment, check=True, timeout=300
    )
    rounds = pd.read_csv(only_run(tmp_path) / "rounds.csv")
    assert (rounds.groupby(["method", "seed"]).num_labelled.max() == 220).all()
    (difference,) = paired_difference(rounds, "random").itertuples()
    assert difference.method == "bald"
    assert difference.pairs == 8
    assert difference.low > 0, "the 95 % interval of the paired difference excludes 0"
