"""Papers' experiments from the command line to their kept tables: stopped, resumed, extended, refused."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from command_line import contents
from jax.experimental.compilation_cache import compilation_cache

from al_jax import campaign, data
from al_jax.campaign.store import StoreError
from experiments import runner
from experiments.experiment import Experiment, build, changed, load
from experiments.recipes import beluch2018, gal2017, kirsch2019
from experiments.reproduction import kept, study
from experiments.reproduction.study import Study, StudyOptions

TINY = Experiment(
    network="mlp(hidden=(4,))",
    training="adam, steps=4",
    settings=campaign.Settings(num_samples=2, batch_size=10, max_labels=40, chunk_size=200),
)
ARMS = {"bald": TINY}


def run(tmp_path: Path, *, keep: Path | None = None, resume: bool = False, hours: Any = None, **fields: Any) -> None:
    chosen = Study(**{"preset": "smoke", "arms": ("bald",), "seeds": 1} | fields)
    options = StudyOptions(results_dir=tmp_path, keep=keep, resume=resume, max_hours=hours)
    study.run("tiny", chosen, ARMS, options, lambda _, arm: ARMS[arm])


def tables(tmp_path: Path, arm: str = "bald") -> Path:
    return tmp_path / "kept" / "tiny" / "smoke" / arm


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The seeds of an arm are campaigns of their own, with the same programs."""
    options = {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("cache"))}
    options |= {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("finished")
    run(tmp_path, seeds=2)
    return tmp_path


def test_every_seed_leaves_small_tables_and_how_they_came_about(finished: Path) -> None:
    folder = tables(finished)
    names = {f"{prefix}seed{seed}.csv" for prefix in ("", "acquired_") for seed in (0, 1)}
    assert {path.name for path in folder.iterdir()} == names | {"run.json"}
    done = campaign.load(finished / "tiny" / "smoke" / "bald" / "seed1")
    here = kept.read(folder, "bald")
    assert here.seeds == [0, 1]
    of_seed = here.rounds[here.rounds["seed"] == 1].reset_index(drop=True)
    assert of_seed["num_labelled"].tolist() == [20, 30, 40]
    assert of_seed["nll"].tolist() == [float(f"{value:.5g}") for value in done.rounds["nll"]]
    acquired = here.acquired[here.acquired["seed"] == 1]
    picks = done.acquired.query("round >= 0")["row"]
    assert acquired["row"].tolist() == data.original_rows_of(build(TINY).dataset)[picks].tolist()
    assert (data.load("digits").labels[acquired["row"]] == acquired["label"]).all()
    run_of_seed = here.runs[1]
    assert (
        run_of_seed["command"]
        == "python -m experiments.recipes.tiny --preset smoke --arms bald --seeds 1 --first-seed 1"
    )
    assert run_of_seed["environment"]["platform"] == "cpu"
    text = (folder / "run.json").read_text()
    assert str(Path.home()) not in text
    assert str(finished) not in text
    assert (finished / "tiny" / "smoke" / "learning_curve.png").stat().st_size > 10_000


def test_a_seed_more_leaves_the_others_as_they_are(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tables(finished)
    before = contents(folder)
    run(tmp_path, keep=finished / "kept", seeds=3)
    after = contents(folder)
    assert after.keys() - before.keys() == {"seed2.csv", "acquired_seed2.csv"}
    assert {name for name in before if after[name] != before[name]} == {"run.json"}
    assert kept.seeds(folder) == [0, 1, 2]
    assert not (tmp_path / "tiny" / "smoke" / "bald" / "seed0").exists(), "kept seeds are not repeated"
    assert "3" in capsys.readouterr().out


def test_a_stopped_run_says_so_and_continues_to_the_same_rows(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, hours=1e-9)
    out = capsys.readouterr().out
    assert "stopped after 1e-09 hours" in out
    assert "0 of 1 seeds finished" in out
    assert kept.seeds(tables(tmp_path)) == []
    with pytest.raises(StoreError, match="unfinished run: continue it with --resume"):
        run(tmp_path)
    run(tmp_path, resume=True)
    name = "acquired_seed0.csv"
    assert (tables(tmp_path) / name).read_bytes() == (tables(finished) / name).read_bytes()


def test_it_fails_where_every_seed_of_an_arm_was_stopped_and_not_where_one_was(finished: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(finished / "kept", tmp_path / "kept")
    file = tables(tmp_path) / "run.json"
    stored = json.loads(file.read_text())
    for part in stored["runs"]:
        assert any(not other["stopped"] for other in stored["runs"])
        run(tmp_path, keep=copied, seeds=2)
        part["stopped"] = {str(seed): "training diverged in round 2" for seed in part["seeds"]}
        file.write_text(json.dumps(stored))
    with pytest.raises(campaign.Diverged, match=r"bald: every seed was stopped\. training diverged"):
        run(tmp_path, keep=copied, seeds=2)


def test_a_finished_run_that_was_not_kept_is_kept(tmp_path: Path, finished: Path) -> None:
    for name in ("config.json", "environment.json", "rounds.csv", "acquired.csv", "summary.json"):
        target = tmp_path / "tiny" / "smoke" / "bald" / "seed0" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((finished / target.relative_to(tmp_path)).read_bytes())
    run(tmp_path)
    name = "acquired_seed0.csv"
    assert (tables(tmp_path) / name).read_bytes() == (tables(finished) / name).read_bytes()


def test_another_budget_is_another_recipe(finished: Path) -> None:
    assert study.variant(Study("smoke")) == "smoke"
    assert study.variant(Study("cpu", seeds=9, first_seed=3, max_labels=60)) == "cpu,max_labels=60"
    assert study.variant(kirsch2019.Kirsch2019("paper", initial="balanced")) == "paper,initial=balanced"


def test_seeds_of_another_recipe_are_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bald"
    folder.mkdir()
    for path in tables(finished).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    kept.check(folder, changed(TINY, seeds=5, first_seed=7, seed_block=2, chunk_size=None))
    with pytest.raises(StoreError, match=r"it differs in training \(adam, steps=4, not adam, steps=5\)$"):
        kept.check(folder, changed(TINY, training="adam, steps=5"))
    stored = json.loads((folder / "run.json").read_text())
    del stored["configuration"]["settings"]["warm_start"]  # as if the file were older than this field
    (folder / "run.json").write_text(json.dumps(stored))
    kept.check(folder, changed(TINY, training="steps=4, adam(1e-3)"))
    with pytest.raises(StoreError, match="warm_start"):
        kept.check(folder, changed(TINY, warm_start=True))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "run.json").write_text("{"), r"run\.json is damaged"),
        (lambda folder: (folder / "run.json").write_text('{"runs": []}'), r"run\.json is damaged"),
        (lambda folder: (folder / "seed1.csv").unlink(), r"seed1\.csv cannot be read"),
        (lambda folder: (folder / "acquired_seed0.csv").write_text(""), r"acquired_seed0\.csv cannot be read"),
        (lambda folder: (folder / "seed0.csv").replace(folder / "seed1.csv"), "cannot be read|rows of other seeds"),
        (lambda folder: (folder / "seed7.csv").write_text("seed\n7\n"), r"seed7\.csv, of which run\.json does not"),
        (lambda folder: (folder / "run.json").unlink(), r"no run\.json"),
    ],
)
def test_damaged_tables_are_one_clear_sentence(finished: Path, tmp_path: Path, damage: Any, message: str) -> None:
    for path in tables(finished).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    with pytest.raises(StoreError, match=message) as caught:
        kept.read(tmp_path, "bald")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arms": ("blad",)}, "^arms='blad' is unknown: did you mean 'bald'"),
        ({"seeds": 0}, "^seeds=0: expected at least 1"),
        ({"first_seed": -1}, "^first_seed=-1: expected at least 0"),
        ({"hours": 0.0}, "^max_hours=0.0: expected more than 0"),
        ({"max_labels": 10}, "^max_labels=10: expected 20"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_written(tmp_path: Path, fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **fields)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "name", "arms"),
    [
        (gal2017, "gal2017", ["mean_std_2017"]),
        (kirsch2019, "kirsch2019", ["batchbald_b10", "emnist_random"]),
        (beluch2018, "beluch2018", ["debal_bald", "cifar_ens_entropy"]),
    ],
    ids=["gal2017", "kirsch2019", "beluch2018"],
)
def test_a_papers_experiment_in_seconds(
    module: Any, name: str, arms: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--preset", "smoke", "--seeds", "1", "--arms", *arms, "--results-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [name, *options])
    module.main()
    for arm in arms:
        folder = tmp_path / "kept" / name / "smoke" / arm
        rounds = pd.read_csv(folder / "seed0.csv")
        assert len(rounds) == 2
        assert rounds["accuracy"].between(0, 1).all()
        assert kept.read(folder, arm).seeds == [0]
    assert (tmp_path / name / "smoke" / "learning_curve.png").stat().st_size > 10_000


@pytest.mark.parametrize("arm", ["cifar_ens_variation_ratio", "cifar_mc_bald"])
def test_cifars_recipe_can_be_traced(arm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = np.zeros((10_000, 32, 32, 3), np.uint8), np.arange(10_000, dtype=np.int32) % 10

    def blank() -> data.Dataset:
        """As many images as CIFAR-10's first fifth."""
        return data.Dataset("cifar10", pixels, labels, pixels[:500], labels[:500], 10)

    monkeypatch.setattr(data, "cifar10", blank)
    load.cache_clear()
    runner.build(beluch2018.recipe(beluch2018.Beluch2018(), arm))
    for cached in (load, build, runner.build):
        cached.cache_clear()
