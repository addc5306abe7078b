"""A campaign from the command line: killed, resumed, refused, recognised; and every bad input in one clear line."""

import dataclasses
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pandas as pd
import pytest
from command_line import contents, finish, kill_when, only_run

from al_jax import campaign
from al_jax.campaign import store
from experiments import builders, datasets, dbal, runner
from experiments import config as configs
from experiments.config import Config
from experiments.runner import RunOptions

SMALL = ["--hidden", "8", "--steps", "5", "--num-samples", "3", "--seeds", "2", "--batch-size", "20"]
SMALL += ["--initial-labels", "20", "--max-labels", "420"]
ROUNDS = 21
TINY = {"hidden": (4,), "steps": 4, "num_samples": 2, "seeds": 1, "batch_size": 10, "max_labels": 40, "chunk_size": 200}
SECTIONS = ("data", "acquisition", "posterior", "training", "campaign")


def config(**fields: Any) -> Config:
    """A tiny campaign of 3 rounds; `fields` by their names on the command line, which are unique."""
    changed, left = Config(), TINY | fields
    for section in SECTIONS:
        part = getattr(changed, section)
        of_part = {f.name: left.pop(f.name) for f in dataclasses.fields(part) if f.name in left}
        changed = dataclasses.replace(changed, **{section: dataclasses.replace(part, **of_part)})
    assert not left, f"no such option: {left}"
    return changed


def without_seconds(directory: Path) -> str:
    return pd.read_csv(directory / "rounds.csv", dtype=str).drop(columns="seconds").to_csv(index=False)


def start(environment: dict[str, str], results: Path, *options: str) -> subprocess.Popen[str]:
    return command_line.start(environment, "dbal", *SMALL, *options, "--results-dir", str(results))


@pytest.fixture(scope="module")
def uninterrupted(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("uninterrupted")
    code, out, err = finish(start(environment, results))
    assert code == 0, err
    assert "results: " in out
    return only_run(results)


@pytest.fixture(scope="module")
def killed(environment: dict[str, str], uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that SIGKILL ended with more than two and less than all rounds done: copy it, do not change it."""
    results = tmp_path_factory.mktemp("killed")

    def two_rounds_are_done() -> bool:
        tables = list(results.glob("dbal/*/rounds.csv"))
        return bool(tables) and pd.read_csv(tables[0])["round"].max() >= 2

    kill_when(start(environment, results), two_rounds_are_done)
    directory = only_run(results)
    assert not store.finished(directory)
    assert 2 <= pd.read_csv(directory / "rounds.csv")["round"].max() < ROUNDS - 1
    return directory


@pytest.fixture
def unfinished(killed: Path, tmp_path: Path) -> Path:
    """The killed run's results folder, to be used: `unfinished / dbal / hash`."""
    return shutil.copytree(killed.parent.parent, tmp_path / "results")


@pytest.fixture
def _no_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs a campaign fails."""

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a campaign was run")

    monkeypatch.setattr(campaign, "run", run)


def main(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """The program's main in this process."""
    monkeypatch.setattr(sys, "argv", ["dbal", *options])
    dbal.main()


# a run and its folder


def test_a_run_is_named_by_its_configuration_and_leaves_its_tables(uninterrupted: Path) -> None:
    stored = json.loads((uninterrupted / "config.json").read_text())
    assert uninterrupted.name == store.fingerprint(stored)
    assert stored["campaign"]["max_labels"] == 420
    rounds, acquired = (pd.read_csv(uninterrupted / f"{name}.csv") for name in ("rounds", "acquired"))
    assert rounds.groupby("seed")["num_labelled"].apply(list).tolist() == [list(range(20, 421, 20))] * 2
    assert acquired.groupby("seed").size().tolist() == [400, 400]
    assert not acquired.duplicated(["seed", "row"]).any()
    names = {"config.json", "environment.json", "rounds.csv", "acquired.csv", "summary.json", "learning_curve.png"}
    assert {p.name for p in uninterrupted.iterdir()} == names | {"checkpoints"}
    assert json.loads((uninterrupted / "summary.json").read_text())["stopped"] == {}


def test_a_killed_run_that_is_resumed_acquires_bit_for_bit_what_an_uninterrupted_one_acquires(
    environment: dict[str, str], uninterrupted: Path, unfinished: Path
) -> None:
    done = pd.read_csv(only_run(unfinished) / "rounds.csv")
    code, _, err = finish(start(environment, unfinished, "--resume"))
    assert code == 0, err
    resumed = only_run(unfinished)
    assert resumed.name == uninterrupted.name
    assert (resumed / "acquired.csv").read_bytes() == (uninterrupted / "acquired.csv").read_bytes()
    assert without_seconds(resumed) == without_seconds(uninterrupted)
    assert len(json.loads((resumed / "environment.json").read_text())) == 2
    # It continued, it did not repeat: rounds that a checkpoint had keep the seconds that they took then.
    seconds = pd.read_csv(resumed / "rounds.csv").query("round < 2")["seconds"].tolist()
    assert seconds == done.query("round < 2")["seconds"].tolist()


def test_an_unfinished_run_is_refused_in_one_sentence_without_resume(
    environment: dict[str, str], unfinished: Path
) -> None:
    before = contents(unfinished)
    code, out, err = finish(start(environment, unfinished))
    assert code == 2
    assert out == ""
    assert re.fullmatch(r"error: [^\n]* unfinished run [^\n]* --resume\n", err)
    assert contents(unfinished) == before


@pytest.mark.usefixtures("_no_campaign")
def test_a_finished_run_is_recognised_and_not_repeated(
    uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, results = contents(uninterrupted), str(uninterrupted.parent.parent)
    for resume in ([], ["--resume"]):
        main(monkeypatch, *SMALL, "--results-dir", results, *resume)
        assert "finished" in capsys.readouterr().out
        assert contents(uninterrupted) == before


def test_a_finished_run_is_read_back_to_the_bit(uninterrupted: Path) -> None:
    done = campaign.load(uninterrupted)
    assert done.acquired.to_csv(index=False) == (uninterrupted / "acquired.csv").read_text()
    assert done.rounds.to_csv(index=False) == (uninterrupted / "rounds.csv").read_text()


COMPILED: dict[Any, Any] = {}


@pytest.fixture
def _compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that run the same campaign several times: those here differ in their seeds and batch size."""
    compile_cycle = campaign.compile_cycle

    def once(*args: Any) -> Any:
        _, _, seeds, _, batch_size, _ = args
        if (seeds, batch_size) not in COMPILED:
            COMPILED[seeds, batch_size] = compile_cycle(*args)
        return COMPILED[seeds, batch_size]

    monkeypatch.setattr(campaign, "compile_cycle", once)


@pytest.mark.usefixtures("_compiled_once")
def test_resume_with_no_finished_round_starts_afresh(tmp_path: Path) -> None:
    chosen = config()
    first = runner.run_config(chosen, tmp_path / "never started", RunOptions(resume=True))
    store.claim(tmp_path / "claimed", dataclasses.asdict(chosen))
    second = runner.run_config(chosen, tmp_path / "claimed", RunOptions(resume=True))
    assert first.acquired.equals(second.acquired)
    assert len(second.rounds) == 3


@pytest.mark.usefixtures("_compiled_once")
def test_tables_are_written_again_from_the_checkpoint(tmp_path: Path) -> None:
    """A kill between the last checkpoint and the summary; the tables are ahead of it, behind it or half written."""
    chosen, directory = config(), tmp_path / "run"
    runner.run_config(chosen, directory, RunOptions())
    whole = {name: (directory / name).read_bytes() for name in ("rounds.csv", "acquired.csv")}
    (directory / "summary.json").unlink()
    for damage in (lambda data: data + data.splitlines(keepends=True)[-1], lambda data: data[:-7], lambda data: b""):
        for name, data in whole.items():
            (directory / name).write_bytes(damage(data))
        runner.run_config(chosen, directory, RunOptions(resume=True))
        assert {name: (directory / name).read_bytes() for name in whole} == whole
        (directory / "summary.json").unlink()


def refused(chosen: Config, directory: Path, message: str) -> None:
    """One line that matches, from the whole program, and a folder that nothing touched."""
    before = contents(directory)
    with pytest.raises(store.StoreError) as caught:
        runner.run_config(chosen, directory, RunOptions(resume=True))
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert contents(directory) == before


def stored_config(directory: Path) -> Config:
    stored = json.loads((directory / "config.json").read_text())
    fields = {name: value for section in SECTIONS for name, value in stored[section].items()}
    return config(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


@pytest.mark.usefixtures("_compiled_once")
def test_a_corrupted_and_a_foreign_checkpoint_are_errors_that_touch_nothing(unfinished: Path) -> None:
    directory = only_run(unfinished)
    chosen = stored_config(directory)
    newest = max((p for p in (directory / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    meta = newest / "meta" / "metadata"
    sound = meta.read_text()
    meta.write_text(sound.replace(store.fingerprint(dataclasses.asdict(chosen)), "0123456789ab"))
    assert meta.read_text() != sound
    refused(chosen, directory, rf"{newest} belongs to another configuration")
    meta.write_text(sound)
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data = largest.read_bytes()
    largest.write_bytes(data[: len(data) // 2])
    refused(chosen, directory, rf"{newest} (cannot be read|is damaged)")


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.usefixtures("_no_campaign")
def test_a_folder_of_another_configuration_is_an_error(
    uninterrupted: Path, killed: Path, tmp_path: Path, finished: bool
) -> None:
    directory = shutil.copytree(uninterrupted if finished else killed, tmp_path / "run")
    refused(config(), directory, "another configuration: it differs in campaign, posterior, training")


# the command line


def test_help_has_every_option_and_what_it_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # one column of boxes, so that the sentences can be read
    with pytest.raises(SystemExit) as stop:
        main(monkeypatch, "--help")
    assert stop.value.code == 0
    shown = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    parts = [RunOptions, *(type(getattr(Config(), section)) for section in SECTIONS)]
    for part in parts:
        source = inspect.getsource(part)
        for field in dataclasses.fields(part):
            assert f"--{field.name.replace('_', '-')}" in shown
            meaning = re.search(rf'^    {field.name}: [^\n]*\n    """(.*?)"""', source, re.DOTALL | re.MULTILINE)
            assert meaning, f"{part.__name__}.{field.name} has no description"
            assert " ".join(meaning[1].split()) in shown, f"--{field.name}: {meaning[1]}"


@pytest.mark.usefixtures("_no_campaign")
def test_a_dry_run_runs_nothing_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(monkeypatch, *SMALL, "--dry-run", "--results-dir", str(tmp_path / "results"))
    assert "rounds a seed" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_bad_input_ends_in_one_line_and_exit_code_2_and_leaves_no_folder(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, out, err = finish(start(environment, tmp_path / "results", "--acquisition", "bold"))
    assert re.fullmatch(r"error: acquisition='bold' is unknown: did you mean 'bald'\?[^\n]*\n", err)
    assert out == ""
    assert code == 2
    assert not (tmp_path / "results").exists()


# bad inputs: argument, value and expectation, before any work

BAD = [
    ({"acquisition": "bold"}, r"^acquisition='bold' is unknown: did you mean 'bald'\? known: bald, .*vote_entropy"),
    ({"posterior": "mcdropout"}, r"^posterior='mcdropout' is unknown: did you mean 'mc_dropout'\? known: .*point"),
    ({"prefilter": 50, "prefilter_score": "entrpy"}, r"^prefilter_score='entrpy' is unknown: did you mean 'entropy'"),
    ({"acquisition": "core_set", "stochastic": "power"}, r"^stochastic='power': expected .* core_set"),
    ({"batch_size": 1278}, r"^batch_size=1278: only 1277 rows are left"),
    ({"batch_size": 0}, r"^batch_size=0: expected at least 1"),
    ({"max_labels": 1298}, r"^max_labels=1298: expected 20 .*1297"),
    ({"max_labels": 19}, r"^max_labels=19: expected 20 \(initial_labels\)"),
    ({"initial_labels": 9}, r"^initial_labels=9: .*every class.* expected num_classes=10 or more, or balanced=False"),
    ({"initial_labels": 1298, "max_labels": 1298}, r"^initial_labels=1298: expected 0 to 1297"),
    ({"rare_classes": (3,), "rare_share": 0.0}, r"^initial_labels=20: class 3 has 1 rows .* expected at least 2"),
    ({"num_samples": 0}, r"^num_samples=0: expected at least 1"),
    ({"num_samples": -3}, r"^num_samples=-3: expected at least 1"),
    ({"seeds": 0}, r"^seeds=0: expected at least 1"),
    ({"seed_block": 0}, r"^seed_block=0: expected at least 1"),
    ({"chunk_size": 0}, r"^chunk_size=0: expected at least 1"),
    ({"pool_subset": 9}, r"^pool_subset=9: expected 10 \(batch_size\) to 1297"),
    ({"pool_subset": 1298}, r"^pool_subset=1298: expected 10 \(batch_size\) to 1297"),
    ({"dropout": 0.0}, r"^dropout=0.0: expected more than 0, since mc_dropout samples dropout masks"),
    ({"posterior": "debal", "dropout": 0.0}, r"^dropout=0.0: expected more than 0, since debal samples dropout masks"),
    ({"posterior": "ensemble", "members": 0}, r"^members=0: expected at least 1"),
    ({"posterior": "variational", "prior_std": 0.0}, r"^prior_std=0.0: expected a positive number"),
    ({"steps": 0}, r"^steps=0: expected at least 1"),
    ({"epochs": 0}, r"^epochs=0: expected at least 1"),
    ({"steps": None}, r"^steps=None, epochs=None: give exactly one"),
    ({"evaluate_every": 3}, r"^evaluate_every=3: expected a divisor of steps=4"),
    ({"patience": 2, "validation_size": 50}, r"^patience=2 .*needs evaluate_every"),
    ({"stochastic": "power", "coldness": -1.0}, r"^coldness=-1.0: expected 0 or more"),
]

NAMED_AS_ON_THE_COMMAND_LINE = [
    ({"dataset": "digts"}, r"^dataset='digts' is unknown: did you mean 'digits' or 'diabetes'\? known: .*digits"),
    ({"dropout": 0.0}, r"^dropout=0.0: "),
    ({"minibatch_size": 0}, r"^minibatch_size=0: expected at least 1"),
    ({"validation_size": 5}, r"^validation_size=5: expected 10\.\.1287"),
    ({"repeated": 0}, r"^repeated=0: expected at least 1"),
    ({"repeated": 2, "repeated_noise": -1.0}, r"^repeated_noise=-1.0: expected"),
    ({"rare_classes": (1,), "rare_share": 2.0}, r"^rare_share=2.0: expected 0\.\.1"),
    ({"rare_classes": (11,)}, r"^rare_classes=.*class 11 has no row"),
    ({"label_noise": 1.5}, r"^label_noise=1.5: expected 0\.\.1"),
    ({"prefilter": 0}, r"^prefilter=0: expected at least"),
    ({"first_seed": -1}, r"^first_seed=-1: expected"),
]

FOUND_BEFORE_ANY_WORK = [
    ({"patience": 2, "evaluate_every": 2}, r"^patience=2 .*validation"),
    ({"prefilter": 9}, r"prefilter=9|batch_size=10"),
    ({"weight_decay": 0.1, "weight_decay_of": "nothing"}, r"'nothing' matches no parameter"),
    ({"weight_decay": 0.1, "weight_decay_of": "["}, r"weight_decay_of='\['"),
    ({"dropout": 1.5}, r"^dropout=1.5: expected"),
    ({"dropout": -0.5}, r"^dropout=-0.5: expected"),
    ({"hidden": (0,)}, r"^hidden=.*0.*: expected"),
    ({"learning_rate": -1.0}, r"^learning_rate=-1.0: expected"),
    ({"acquisition": "margin", "stochastic": "power"}, r"^stochastic='power': expected .*margin"),
    ({"posterior": "svi", "prior_of": "Dense_9"}, r"^prior for 'Dense_9': the network has no such parameter"),
    ({"posterior": "svi", "prior_of": "["}, r"^prior for '\[': expected a regular expression"),
    ({"posterior": "laplace", "prior_std": 0.0}, r"^prior_std=0.0: expected a positive number"),
    ({"posterior": "nuts_last_layer", "draws": 2}, r"^draws=2: expected at least 4"),
    ({"dataset": "diabetes", "acquisition": "entropy"}, r"^acquisition='entropy': expected for a regression one of"),
    ({"dataset": "diabetes", "prefilter": 30}, r"^prefilter_score='entropy' is unknown.*variance"),
    ({"dataset": "diabetes", "noise_std": -1.0}, r"^noise_std=-1.0: expected"),
    ({"dataset": "diabetes", "noise_std": None, "posterior": "laplace"}, r"^noise_std=None: expected .* convex"),
    (
        {"dataset": "diabetes", "validation_size": 20, "patience": 1, "evaluate_every": 2, "monitor": "accuracy"},
        r"^monitor='accuracy': expected one of coverage, nll, rmse",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BAD, ids=lambda x: str(x) if isinstance(x, dict) else "")
@pytest.mark.usefixtures("_no_campaign")
def test_a_bad_input_is_one_clear_line_before_any_work(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        runner.run_config(config(**fields), tmp_path / "results" / "run", RunOptions())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"), NAMED_AS_ON_THE_COMMAND_LINE, ids=lambda x: str(x) if isinstance(x, dict) else ""
)
def test_a_bad_input_is_named_as_on_the_command_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runner.build(config(**fields))


@pytest.mark.parametrize(
    ("fields", "message"), FOUND_BEFORE_ANY_WORK, ids=lambda x: str(x) if isinstance(x, dict) else ""
)
def test_a_bad_combination_is_found_before_any_work(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runner.build(config(**fields))


# what can be configured


@pytest.mark.parametrize("name", builders.POSTERIORS)
def test_every_posterior_is_built(name: str) -> None:
    _, _, dataset = runner.build(config(posterior=name))
    assert dataset.inputs.shape == (1297, 8, 8, 1)


@pytest.mark.parametrize("name", builders.POSTERIORS)
def test_every_posterior_carries_a_regression(name: str) -> None:
    _, _, dataset = runner.build(config(posterior=name, dataset="diabetes"))
    assert dataset.num_classes is None


@pytest.mark.parametrize("name", ["variance", "bald", "epig", "random", "core_set"])
def test_every_acquisition_of_a_regression_is_built(name: str) -> None:
    runner.build(config(acquisition=name, dataset="diabetes", noise_std=None, prefilter=50, prefilter_score="variance"))


@pytest.mark.parametrize("name", [*builders.SCORES, *builders.BATCH_METHODS])
def test_every_acquisition_is_built_and_so_is_its_prefiltered_form(name: str) -> None:
    _, plain, _ = runner.build(config(acquisition=name))
    assert plain.shortlist is None
    _, prefiltered, _ = runner.build(config(acquisition=name, prefilter=50))
    assert prefiltered.shortlist is not None
    assert prefiltered.shortlist[1] == 50


def test_names_in_the_help_are_the_names_there_are() -> None:
    help_of = {part: inspect.getsource(part) for part in (configs.AcquisitionConfig, configs.PosteriorConfig)}
    for name in (*builders.SCORES, *builders.BATCH_METHODS):
        assert re.search(rf"\b{name}\b", help_of[configs.AcquisitionConfig])
    for name in builders.POSTERIORS:
        assert re.search(rf"\b{name}\b", help_of[configs.PosteriorConfig])


def test_the_pool_changes_after_validation_rows_left_it() -> None:
    plain = datasets.build_dataset(configs.DataConfig(validation_size=100))
    every = configs.DataConfig(validation_size=100, repeated=2, rare_classes=(1, 2), label_noise=0.2)
    changed = datasets.build_dataset(every)
    assert np.array_equal(changed.validation_inputs, plain.validation_inputs)
    assert np.array_equal(changed.validation_labels, plain.validation_labels)
    assert np.array_equal(changed.test_labels, plain.test_labels)
    assert len(changed.labels) % 2 == 0
    assert np.array_equal(*np.split(changed.labels, 2))  # copies get the same answer


CAMPAIGNS = {
    "ensemble, core-set, label noise": {"posterior": "ensemble", "acquisition": "core_set", "label_noise": 0.3},
    "variational, stochastic, repeated": {
        "posterior": "variational",
        "acquisition": "entropy",
        "stochastic": "softmax",
        "repeated": 2,
    },
    "DEBAL, prefilter, warm start": {
        "posterior": "debal",
        "acquisition": "variation_ratio",
        "prefilter": 30,
        "warm_start": True,
    },
    "guide of some layers": {"posterior": "svi", "guide": "low_rank", "prior_of": "Dense_1"},
    "rare classes, early stopping": {
        "acquisition": "random",
        "rare_classes": (1, 2),
        "rare_share": 0.2,
        "validation_size": 40,
        "epochs": 4,
        "patience": 1,
    },
}


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_campaign_reaches_its_budget_and_takes_the_answers_of_its_data_set(name: str, tmp_path: Path) -> None:
    fields = {"members": 2, "max_labels": 35, **CAMPAIGNS[name]}
    done = runner.run_config(config(**fields), tmp_path / "run", RunOptions())
    _, _, dataset = runner.build(config(**fields))
    assert done.stopped == {}
    assert done.rounds["num_labelled"].tolist() == [20, 30, 35]
    assert np.isfinite(done.rounds[["accuracy", "nll"]]).all(axis=None)
    assert len(done.acquired) == done.acquired["row"].nunique() == 15
    assert done.acquired["label"].tolist() == dataset.labels[done.acquired["row"]].tolist()


def test_a_regression_runs_from_configuration_to_table_and_picture(tmp_path: Path) -> None:
    fields = {"dataset": "diabetes", "posterior": "laplace", "seeds": 2, "max_labels": 35}
    done = runner.run_config(config(**fields), tmp_path / "run", RunOptions())
    _, _, dataset = runner.build(config(**fields))
    assert done.rounds["num_labelled"].tolist() == [20, 30, 35] * 2
    assert np.isfinite(done.rounds[["rmse", "nll", "coverage"]]).all(axis=None)
    assert done.acquired["label"].tolist() == dataset.labels[done.acquired["row"]].tolist()
    with runner.console.capture() as captured:
        runner.present({"bald": done}, tmp_path, "laplace + bald on diabetes")
    shown = captured.get()
    final = done.rounds[done.rounds["num_labelled"] == 35]
    assert f"{final['rmse'].mean():.3g} [" in shown
    assert (tmp_path / "learning_curve.png").stat().st_size > 10_000
    again = campaign.load(tmp_path / "run")
    pd.testing.assert_frame_equal(again.acquired, done.acquired, check_dtype=False)


def test_an_answer_that_is_no_number_is_refused(tmp_path: Path) -> None:
    posterior, acquisition, dataset = runner.build(config(dataset="diabetes", posterior="point"))
    likelihood = builders.build_likelihood(configs.PosteriorConfig(), dataset)

    def oracle(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(rows.shape, np.nan), np.ones(rows.shape, bool)

    settings = config().campaign
    with pytest.raises(ValueError, match=r"label of row \d+ is nan: expected a finite number"):
        campaign.run(posterior, acquisition, dataset, settings, likelihood=likelihood, oracle=oracle)
