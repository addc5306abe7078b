"""A campaign from the command line: killed, resumed, refused, recognised; and every bad input in one clear line."""

import dataclasses
import hashlib
import inspect
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pandas as pd
import pytest
from command_line import contents, finish, kill_when, only_run, signal_when
from tables import ACQUISITIONS, POSTERIORS, SCORES

from al_jax import campaign, vocabulary
from al_jax.campaign import store
from experiments import run, runner
from experiments.dry_run import costs
from experiments.experiment import Experiment, changed, from_recipe, identity
from experiments.runner import RunOptions

SMALL = ["--network", "mlp(hidden=(8,))", "--training", "adam, steps=5", "--num-samples", "3", "--seeds", "2"]
SMALL += ["--batch-size", "20", "--initial-labels", "20", "--max-labels", "420"]
ROUNDS = 21
TINY: dict[str, Any] = {"network": "mlp(hidden=(4,))", "training": "adam, steps=4", "num_samples": 2, "seeds": 1}
TINY |= {"batch_size": 10, "max_labels": 40, "chunk_size": 200}


def config(**fields: Any) -> Experiment:
    """A tiny campaign of 3 rounds, with other `fields`."""
    return changed(Experiment(), **TINY | fields)


def without_seconds(directory: Path) -> str:
    return pd.read_csv(directory / "rounds.csv", dtype=str).drop(columns="seconds").to_csv(index=False)


def start(environment: dict[str, str], results: Path, *options: str) -> subprocess.Popen[str]:
    return command_line.start(environment, "run", *SMALL, *options, "--results-dir", str(results))


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
        tables = list(results.glob("run/*/rounds.csv"))
        return bool(tables) and pd.read_csv(tables[0])["round"].max() >= 2

    kill_when(start(environment, results), two_rounds_are_done)
    directory = only_run(results)
    assert not store.finished(directory)
    assert 2 <= pd.read_csv(directory / "rounds.csv")["round"].max() < ROUNDS - 1
    return directory


@pytest.fixture
def unfinished(killed: Path, tmp_path: Path) -> Path:
    """The killed run's results folder, to be used: `unfinished / run / hash`."""
    return shutil.copytree(killed.parent.parent, tmp_path / "results")


@pytest.fixture
def _no_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs a campaign fails."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a campaign was run")

    monkeypatch.setattr(campaign, "run", fail)


def main(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """The program's main in this process."""
    monkeypatch.setattr(sys, "argv", ["run", *options])
    run.main()


# a sweep


def test_a_sweep_is_part_of_a_run_and_its_folder_gives_every_model_back(tmp_path: Path) -> None:
    swept = config(sweep=("learning_rate=1e-3,1e-1", "dropout=0.25"), data="subset(digits, 60)")
    assert from_recipe(identity(swept)).sweep == ("learning_rate=0.001,0.1", "dropout=0.25")
    assert "sweep" not in identity(config()), "a run without one keeps its name"
    done = runner.run_experiment(swept, tmp_path / "run", RunOptions(keep_model=True))
    assert done.rounds[["learning_rate", "dropout"]].drop_duplicates().to_numpy().tolist() == [
        [1e-3, 0.25],
        [0.1, 0.25],
    ]
    images = runner.build(swept).dataset.test_inputs
    for rate in (1e-3, 1e-1):
        here = done.at(learning_rate=rate, dropout=0.25).model(0).predict(images, 2)
        kept = campaign.load(tmp_path / "run").at(learning_rate=rate, dropout=0.25).model(0).predict(images, 2)
        np.testing.assert_array_equal(here.log_probs, kept.log_probs)


def test_a_sweep_costs_so_many_times_more() -> None:
    one, three = (costs(config(sweep=sweep)) for sweep in ((), ("learning_rate=1e-3,1e-2,1e-1",)))
    assert three.training_flops == 3 * one.training_flops
    assert three.rows_scored == 3 * one.rows_scored


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        (("learning_rate",), "sweep='learning_rate': expected a name once, and its numbers"),
        (("learning_rate=",), "expected a name once, and its numbers"),
        (("learning_rate=1e-3,fast",), "expected a name once, and its numbers"),
        (("dropout=0.1", "dropout=0.2"), "expected a name once, and its numbers"),
        (("learnin_rate=1e-3",), "sweep has learnin_rate: expected a number that posterior='mc_dropout', network="),
        (("steps=2,3",), "sweep=steps: one of them is a size"),
        (("dropout=0.5,1.5",), "the posterior of dropout=1.5: .*expected 0 or more and less than 1"),
    ],
)
@pytest.mark.usefixtures("_no_campaign")
def test_wrong_sweeps_are_named(sweep: tuple[str, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        runner.build(config(sweep=sweep, training="adam"))


# a run and its folder


def test_a_run_is_named_by_its_configuration_and_leaves_its_tables(uninterrupted: Path) -> None:
    stored = json.loads((uninterrupted / "config.json").read_text())
    assert uninterrupted.name == store.fingerprint(stored)
    assert stored["settings"]["max_labels"] == 420
    rounds, acquired = (pd.read_csv(uninterrupted / f"{name}.csv") for name in ("rounds", "acquired"))
    assert rounds.groupby("seed")["num_labelled"].apply(list).tolist() == [list(range(20, 421, 20))] * 2
    assert acquired.groupby("seed").size().tolist() == [420, 420]
    assert not acquired.duplicated(["seed", "row"]).any()
    names = {"config.json", "environment.json", "rounds.csv", "acquired.csv", "summary.json", "learning_curve.png"}
    assert {p.name for p in uninterrupted.iterdir()} == names | {"checkpoints", "in_use.lock"}
    assert json.loads((uninterrupted / "summary.json").read_text())["stopped"] == {}


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 1, "inter")])
def test_a_signal_ends_a_run_that_can_be_resumed(
    *, environment: dict[str, str], unfinished: Path, uninterrupted: Path, number: signal.Signals, code: int, word: str
) -> None:
    table = only_run(unfinished) / "rounds.csv"
    before = table.stat().st_mtime_ns
    process = start(environment, unfinished, "--resume")
    signal_when(process, lambda: table.stat().st_mtime_ns > before, number)
    ended, _, err = finish(process)
    assert ended == code
    assert re.search(rf"^{word}.*: run the same command with --resume to continue$", err, re.MULTILINE)
    assert "Traceback" not in err
    assert not store.finished(table.parent)
    if number == signal.SIGTERM:
        last = max(int(folder.name) for folder in (table.parent / "checkpoints").iterdir() if folder.name.isdigit())
        assert last == pd.read_csv(table)["round"].max() + 1, "the round was finished, and kept"
    assert finish(start(environment, unfinished, "--resume"))[0] == 0
    assert (table.parent / "acquired.csv").read_bytes() == (uninterrupted / "acquired.csv").read_bytes()


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
    compile_cycle = campaign.loop.compile_cycle

    def once(*args: Any) -> Any:
        _, _, repetitions, _, batch_size, _ = args
        seeds = tuple(row.seed for row in repetitions)
        if (seeds, batch_size) not in COMPILED:
            COMPILED[seeds, batch_size] = compile_cycle(*args)
        return COMPILED[seeds, batch_size]

    monkeypatch.setattr(campaign.loop, "compile_cycle", once)


@pytest.mark.usefixtures("_compiled_once")
def test_resume_with_no_finished_round_starts_afresh(tmp_path: Path) -> None:
    chosen = config()
    first = runner.run_experiment(chosen, tmp_path / "never started", RunOptions(resume=True))
    store.claim(tmp_path / "claimed", identity(chosen))
    second = runner.run_experiment(chosen, tmp_path / "claimed", RunOptions(resume=True))
    assert first.acquired.equals(second.acquired)
    assert len(second.rounds) == 3


@pytest.mark.usefixtures("_compiled_once")
def test_tables_are_written_again_from_the_checkpoint(tmp_path: Path) -> None:
    """A kill between the last checkpoint and the summary; the tables are ahead of it, behind it or half written."""
    chosen, directory = config(), tmp_path / "run"
    runner.run_experiment(chosen, directory, RunOptions())
    whole = {name: (directory / name).read_bytes() for name in ("rounds.csv", "acquired.csv")}
    (directory / "summary.json").unlink()
    for damage in (lambda data: data + data.splitlines(keepends=True)[-1], lambda data: data[:-7], lambda data: b""):
        for name, data in whole.items():
            (directory / name).write_bytes(damage(data))
        runner.run_experiment(chosen, directory, RunOptions(resume=True))
        assert {name: (directory / name).read_bytes() for name in whole} == whole
        (directory / "summary.json").unlink()


def refused(chosen: Experiment, directory: Path, message: str) -> None:
    """One line that matches, from the whole program, and a folder that nothing touched."""
    before = contents(directory)
    with pytest.raises(store.StoreError) as caught:
        runner.run_experiment(chosen, directory, RunOptions(resume=True))
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)
    assert contents(directory) == before


def stored_config(directory: Path) -> Experiment:
    return from_recipe(json.loads((directory / "config.json").read_text()))


@pytest.mark.usefixtures("_compiled_once")
def test_a_corrupted_and_a_foreign_checkpoint_are_errors_that_touch_nothing(unfinished: Path) -> None:
    directory = only_run(unfinished)
    chosen = stored_config(directory)
    newest = max((p for p in (directory / "checkpoints").iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    meta = newest / "meta" / "metadata"
    sound = meta.read_text()
    meta.write_text(sound.replace(store.fingerprint(identity(chosen)), "0123456789ab"))
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
    refused(config(), directory, "another configuration: it differs in network, settings, training")


# the command line


def test_help_has_every_option_and_what_it_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # one column of boxes, so that the sentences can be read
    with pytest.raises(SystemExit) as stop:
        main(monkeypatch, "--help")
    assert stop.value.code == 0
    shown = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for part in (run.Options, RunOptions, Experiment, campaign.Settings):
        source = inspect.getsource(part)
        for field in dataclasses.fields(part):
            option = {"imports": "import"}.get(field.name, field.name.replace("_", "-"))
            if field.name == "settings" or (part is run.Options and field.name != "list"):
                continue
            assert f"--{option}" in shown
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
    assert re.fullmatch(
        r"error: acquisition='bold': at column 1 'bold' is unknown: did you mean 'bald' or 'borda'\?[^\n]*\n", err
    )
    assert out == ""
    assert code == 2
    assert not (tmp_path / "results").exists()


# bad inputs: argument, value and expectation, before any work

BAD = [
    (
        {"acquisition": "bold"},
        r"^acquisition='bold': at column 1 'bold' is unknown: did you mean 'bald' or 'borda'\? known: acs_fw",
    ),
    ({"posterior": "mcdropout"}, r"^posterior='mcdropout': .* did you mean 'mc_dropout'\? known: .*point"),
    ({"acquisition": "prefilter(entrpy, 50, bald)"}, r"at column 11 'entrpy' is unknown: did you mean 'entropy'"),
    ({"acquisition": "stochastic_top_k(core_set)"}, r"at column 18 core_set makes an Acquisition; expected a score"),
    ({"batch_size": 1298}, r"^batch_size=1298: expected 1 to 1297, the rows of the pool"),
    ({"batch_size": 0}, r"^batch_size=0: expected 1 to 1297"),
    ({"max_labels": 1298}, r"^max_labels=1298: expected 20 .*1297"),
    ({"max_labels": 19}, r"^max_labels=19: expected 20 \(initial_labels\)"),
    ({"initial_labels": 9}, r"^initial_labels=9: .*every class.* expected num_classes=10 or more, or balanced=False"),
    ({"initial_labels": 1298, "max_labels": 1298}, r"^initial_labels=1298: expected 0 to 1297"),
    ({"data": "imbalanced(digits, 0, (3,))"}, r"^initial_labels=20: class 3 has 1 rows .* expected at least 2"),
    ({"num_samples": 0}, r"^num_samples=0: expected at least 1"),
    ({"num_samples": -3}, r"^num_samples=-3: expected at least 1"),
    ({"seeds": 0}, r"^seeds=0: expected at least 1"),
    ({"first_seed": -1}, r"^first_seed=-1: expected"),
    ({"seed_block": 0}, r"^seed_block=0: expected at least 1"),
    ({"chunk_size": 0}, r"^chunk_size=0: expected at least 1"),
    ({"test_samples": 60}, r"^test_samples=60: expected 1 to 2 \(num_samples\)"),
    ({"pool_on": "disk"}, r"^pool_on='disk': expected 'device' or 'host'"),
    ({"mode": "pools"}, r"^mode='pools': expected 'replicas' or 'pool'"),
    ({"pool_subset": 9}, r"^pool_subset=9: expected 10 \(batch_size\) to 1297"),
    ({"pool_subset": 1298}, r"^pool_subset=1298: expected 10 \(batch_size\) to 1297"),
    ({"network": "mlp(dropout=0)"}, r"^module=MLP has no dropout layer .* use the posterior `point`"),
    ({"network": "mlp(dropout=1.5)"}, r"^network='mlp\(dropout=1.5\)': .* dropout=1.5: expected 0 or more"),
    ({"network": "mlp(dropout=-0.5)"}, r"dropout=-0.5: expected 0 or more and less than 1"),
    ({"network": "mlp(hidden=(0,))"}, r"hidden=\(0,\): expected widths of at least 1"),
    ({"network": "mlp(std=0)"}, r"std=0.0: expected a positive"),
    ({"network": "mlp(num_classes=4)"}, r"num_classes is not given in a text, it is bound"),
    ({"network": "gal"}, r"^network='gal': at column 1 'gal' is unknown: did you mean"),
    ({"network": "lenet"}, r"^network=lenet takes images of .* rows are 8 x 8 x 1"),
    ({"posterior": "ensemble(point, 0)"}, r"ensemble: members=0: expected at least 1"),
    ({"posterior": "ensemble"}, r"posterior is missing; expected ensemble\(posterior, members=5\)"),
    ({"posterior": "variational(prior_std=0)"}, r"variational: prior_std=0.0 must be positive"),
    ({"posterior": "laplace(structure='block')"}, r"'block' where 'full' or 'kron' or 'diag' was expected"),
    ({"posterior": "laplace(prior_precision=0)"}, r"laplace: prior_precision=0.0: expected a positive number or None"),
    ({"posterior": "nuts_last_layer(draws=2)"}, r"draws=2: expected at least 4"),
    ({"posterior": "svi(prior={'Dense_9': 1})"}, r"prior for 'Dense_9': the network has no such parameter"),
    ({"posterior": "svi(prior={'[': 1})"}, r"prior for '\[': expected a regular expression"),
    ({"posterior": "svi(prior=0)"}, r"svi: prior=0.0: expected a positive standard deviation"),
    ({"training": "adam, steps=0"}, r"steps=0: expected at least 1"),
    ({"training": "adam, epochs=0"}, r"epochs=0: expected at least 1"),
    ({"training": "adam, steps=5, epochs=5"}, r"^training='adam, steps=5, epochs=5': .*give exactly one of the two"),
    ({"training": "adam(0)"}, r"learning_rate=0.0: expected a positive, finite number"),
    ({"training": "adam(inf)"}, r"at column 6 .*Name is not allowed|'inf' is unknown"),
    ({"training": "adam, minibatch_size=0"}, r"minibatch_size=0: expected at least 1"),
    ({"training": "adam, steps=4, early_stopping(2, every=3)"}, r"evaluate_every=3: expected a divisor of steps=4"),
    ({"training": "adam, steps=4, early_stopping(2)"}, r"patience=2 .*needs evaluate_every"),
    ({"training": "adam, steps=4, early_stopping(2, every=2)"}, r"^patience=2 .*validation"),
    ({"training": "adam, steps=4, penalty=l2(0.1, only='nothing')"}, r"'nothing' matches no parameter"),
    ({"training": "adam, steps=4, penalty=l2(-1)"}, r"coefficient=-1.0: expected a finite number, 0 or more"),
    ({"training": "adam, augment=flip"}, r"'flip' is unknown"),
    ({"acquisition": "stochastic_top_k(bald, coldness=-1)"}, r"coldness=-1.0: expected 0 or more"),
    ({"acquisition": "stochastic_top_k(margin, 'power')"}, r"kind='power': expected 'softmax' or 'softrank'"),
    ({"acquisition": "prefilter(bald, 9, core_set)"}, r"batch_size=10: expected 1 to 9"),
    ({"acquisition": "prefilter(bald, 0, core_set)"}, r"prefilter: m=0: expected at least 1"),
    ({"acquisition": "prefilter(bald, 90, prefilter(bald, 50, core_set))"}, r"already restricted to 50 rows"),
    ({"data": "digts"}, r"^data='digts': at column 1 'digts' is unknown: did you mean 'digits'"),
    ({"data": "with_validation(digits, 5)"}, r"with_validation: size=5: expected 10\.\.1287"),
    ({"data": "repeated(digits, 0)"}, r"repeated: copies=0: expected at least 1"),
    ({"data": "repeated(digits, 2, noise=-1)"}, r"repeated: noise=-1.0: expected"),
    ({"data": "imbalanced(digits, 2, (1,))"}, r"imbalanced: share=2.0: expected 0\.\.1"),
    ({"data": "imbalanced(digits, 0.5, (11,))"}, r"class 11 has no row"),
    ({"data": "noisy_labels(digits, 1.5)"}, r"noisy_labels: rate=1.5: expected 0\.\.1"),
    ({"data": "subset(digits, 1298)"}, r"subset: size=1298: expected 1 to 1297"),
    ({"data": "with_initial(digits, (1, 2))"}, r"^initial_labels=20: expected 2, the initial rows of the data set"),
    ({"data": "tfds('nothing')"}, r"dataset='nothing' is unknown"),
    ({"acquisition": "epig(9, gaussian_information_gain)"}, r"^gain=gaussian_information_gain is of a regression"),
    ({"likelihood": "gaussian(1.0)"}, r"^likelihood='gaussian\(1.0\)' is of numbers, and digits has classes"),
    ({"data": "diabetes", "acquisition": "entropy"}, r"^acquisition=entropy reads class probabilities, and this is a"),
    ({"data": "diabetes", "acquisition": "prefilter(margin, 30, bald)"}, r"^acquisition=margin reads class prob"),
    ({"data": "diabetes", "likelihood": "auto(noise=-1)"}, r"auto: noise=-1.0: expected a positive number or None"),
    ({"data": "diabetes", "likelihood": "auto(noise=None)", "posterior": "laplace"}, r"laplace: .* convex in the"),
    (
        {"data": "with_validation(diabetes, 20)", "training": "adam, steps=4, early_stopping(1, 2, 'accuracy')"},
        r"^monitor='accuracy': expected one of coverage, nll, rmse",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BAD, ids=lambda x: str(x) if isinstance(x, dict) else "")
@pytest.mark.usefixtures("_no_campaign")
def test_a_bad_input_is_one_clear_line_before_any_work(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        runner.run_experiment(config(**fields), tmp_path / "results" / "run", RunOptions())
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# the same from the whole program: one line, exit code 2, no folder

COMMANDS = [
    (("--acquisition", "__import__('os')"), r"acquisition=.* at column 1 '__import__' is unknown; known: acs_fw"),
    (("--acquisition", "bald.__class__"), r"at column 1 an attribute is not allowed; expected an Acquisition"),
    (("--acquisition", "lambda x: x"), r"at column 1 a lambda is not allowed; expected an Acquisition"),
    (("--acquisition", "(" * 10_000), r"10000 characters; expected at most 4000"),
    (("--acquisition", "(" * 21 + ")" * 21), r"at column 21 more than 20 brackets within brackets"),
    (("--acquisition", "b\u0430ld"), r"at column 2 the character '\u0430' is no ASCII; expected names of letters a-z"),
    (("--acquisition", ""), r"acquisition='': empty; expected for example 'acs_fw'"),
    (("--acquisition", "bald, entropy"), r"a tuple where an Acquisition was expected"),
    (("--acquisition", "bald entropy"), r"at column 6 invalid syntax; expected an expression such as 'acs_fw'"),
    (("--acquisition", "prefilter(bald, '5', core_set)"), r"at column 17 '5' where a whole number was expected"),
    (("--acquisition", "prefilter(bald, 5)"), r"acquisition is missing; expected prefilter\(score, m, acquisition\)"),
    (("--acquisition", "core_set(1)"), r"1 arguments are too many; expected core_set\(\)"),
    (("--acquisition", "stochastic_top_k(bald, coldness=1e999)"), r"the number is too large; expected a finite one"),
    (("--acquisition", "stochastic_top_k(bald, coldness=nan)"), r"at column 33 'nan' is unknown; known: acs_fw"),
    (("--acquisition", "mc_dropout"), r"'mc_dropout' is unknown"),
    (
        ("--acquisition", "batchbald", "--posterior", "mc_dropout_fresh_masks"),
        r"posterior=.*: expected mc_dropout, since",
    ),
    (("--acquisition", "variance"), r"acquisition=variance reads predictions of a regression, and these are class"),
    (("--acquisition", "gaussian_information_gain"), r"needs more than predictions: expected a score of them alone"),
    (("--posterior", "svi(prior={})"), r"prior=\{\}: expected a prior of at least one parameter"),
    (("--posterior", "svi(prior={**{}})"), r"at column 11 \*\* is not allowed; expected name: value"),
    (("--posterior", "nuts(max_tree_depth=0)"), r"nuts: max_tree_depth=0: expected at least 1"),
    (("--posterior", "ensemble(5, point)"), r"at column 10 5 where a Posterior was expected"),
    (("--network", "mlp(dropout=2)"), r"mlp: dropout=2.0: expected 0 or more and less than 1"),
    (("--network", "gal_cnn(dropout=1)"), r"gal_cnn: dropout=1.0: expected 0 or more and less than 1"),
    (("--network", "resnet18(width=0)"), r"resnet18: width=0: expected widths of at least 1"),
    (("--network", "mlp(hidden=(4.5,))"), r"at column 13 4.5 where a whole number was expected"),
    (("--network", "mlp(std=1e-300)"), r"std=1e-300: expected a positive, finite float32"),
    (("--network", "mlp(mean=1e300)"), r"mean=1e\+300: expected a finite float32"),
    (("--network", "mlp(dtype='int8')"), r"dtype='int8': expected 'bfloat16', 'float16' or 'float32'"),
    (("--network", "batchbald_cnn"), r"network=batchbald_cnn takes images of at least 16 x 16 .*: rows are 8 x 8 x 1"),
    (("--training", "adam(-1)"), r"adam: learning_rate=-1.0: expected a positive, finite number"),
    (("--training", "adam, steps=3, epochs=2"), r"steps=3, epochs=2: give exactly one of the two budgets"),
    (("--training", "adam, steps=1e3"), r"at column 13 1000.0 where a whole number or None was expected"),
    (("--training", f"adam, steps={10**20}"), r"steps=10{20}: expected less than 2\^31"),
    (("--training", "adam, steps=4, steps=5"), r"at column 22 steps is given twice"),
    (("--training", "adam(1e-3, steps=4)"), r"adam has no argument 'steps'; expected adam\(learning_rate"),
    (("--likelihood", "categorical", "--data", "diabetes"), r"likelihood='categorical' is of classes, and diabetes is"),
    (("--data", "repeated(digits, 99999999)"), r"repeated: Unable to allocate"),
    (("--data", "digits(seed=-1)"), r"digits: seed=-1: expected 0 or more and less than 2\^32"),
    (("--data", "tfds('../../etc/passwd')"), r"dataset='../../etc/passwd' is unknown; known: cifar10"),
    (("--posterior", "laplace(structure=kron)"), r"at column 19 'kron' is unknown; known: cyclical_sghmc"),
    (("--posterior", "ensemble(point, members=5, 3)"), r"positional argument follows keyword argument"),
    (("--training", ""), r"training='': empty; expected for example 'adam'"),
    (
        ("--training", "adam, 4"),
        r"at column 7 4 where a GradientTransformation or an EarlyStopping or an Objective was expected",
    ),
    (("--network", "mlp(dense=dense(3))"), r"at column 11 dense makes a Dense; expected a layer"),
    (("--data", "load('digits')"), r"at column 1 'load' is unknown; known: cifar10"),
    (("--batch-size", "0"), r"batch_size=0: expected 1 to 1297, the rows of the pool"),
    (("--batch-size", "0", "--max-labels", "5", "--seeds", "0"), r"seeds=0: expected at least 1"),
    (("--seeds", str(10**20)), r"first_seed=0, seeds=10{20}: expected a sum of at most 2\^31"),
    (("--devices", "0"), r"devices=0: expected at least 1"),
    (("--dry-run", "--acquisition", "bold"), r"did you mean 'bald'"),
    (("--results-dir", "{folder}/file/below"), r"cannot be made .*: expected a folder that can be written"),
    (
        ("--import", "{folder}/nothing.py"),
        r"import='.*nothing.py' cannot be imported .*: expected a Python file or mod",
    ),
    (("--import", "{folder}/broken.py"), r"cannot be imported \(SyntaxError: .*: expected a Python file or module"),
    (("--import", "{folder}/two_lines.py"), r"cannot be imported \(RuntimeError: two lines\)"),
    (("--import", "{folder}/leaves.py"), r"cannot be imported \(SystemExit: 3\)"),
    (("--import", "{folder}/clash.py"), r"clash.py': bald is a name of al_jax already; expected another"),
    (("--list", "--import", "{folder}/clash.py"), r"clash.py': bald is a name of al_jax already; expected another"),
    (("--import", "{folder}/liar.py", "--acquisition", "liar"), r"liar made 5; expected an Acquisition"),
    (
        ("--import", "{folder}/table.py", "--acquisition", "table"),
        r"acquisition=table makes .*: expected .*a score a row",
    ),
]
FILES = {
    "file": "",
    "broken.py": "def f(:",
    "two_lines.py": "raise RuntimeError('two\\nlines')",
    "leaves.py": "raise SystemExit(3)",
    "clash.py": "def bald(log_probs): ...",
    "liar.py": "from al_jax.types import Acquisition\n\ndef liar() -> Acquisition:\n    return 5\n",
    "table.py": "def table(log_probs):\n    return log_probs\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that cannot be imported as they are."""
    made = tmp_path_factory.mktemp("wrong")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


@pytest.mark.parametrize(("options", "message"), COMMANDS, ids=lambda x: " ".join(x)[:60] if type(x) is tuple else "")
@pytest.mark.usefixtures("_no_campaign")
def test_a_wrong_command_is_one_line_and_exit_code_2(
    options: tuple[str, ...],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = tmp_path / "results"
    given = [option.replace("{folder}", str(folder)) for option in options]
    monkeypatch.setattr(sys, "argv", ["run", *SMALL, "--results-dir", str(results), *given])
    with pytest.raises(SystemExit) as stop:
        runner.guarded(run.main)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", err)
    assert not results.exists()


def test_a_campaign_in_which_every_seed_diverges_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--training", "sgd(1e30), steps=9", "--posterior", "point", "--acquisition", "random"]
    monkeypatch.setattr(sys, "argv", ["run", *SMALL, *options, "--results-dir", str(tmp_path)])
    for _ in ("run", "shown again"):
        with pytest.raises(SystemExit) as stop:
            runner.guarded(run.main)
        out, err = capsys.readouterr()
        assert stop.value.code == 1
        assert "0/2" in out, "the table tells how many seeds came to the end"
        assert "error: random: every seed was stopped. training diverged in round 0" in err
    (directory,) = (tmp_path / "run").iterdir()
    assert pd.read_csv(directory / "rounds.csv").accuracy.isna().all()
    assert {path.name for path in directory.iterdir()} >= {"rounds.csv", "acquired.csv", "summary.json"}


@pytest.mark.parametrize(
    "options", [("--batch-size", "x"), ("--mode", "pools"), ("--nothing", "3"), ("--acquisition",), ("bald",)], ids=str
)
@pytest.mark.usefixtures("_no_campaign")
def test_what_is_no_option_or_not_of_its_type_is_named_in_a_box(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by tyro, before any of our code runs."""
    monkeypatch.setattr(sys, "argv", ["run", *options])
    with pytest.raises(SystemExit) as stop:
        runner.guarded(run.main)
    shown = capsys.readouterr().err
    assert stop.value.code == 2
    assert options[0] in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("options", [("--acquisition", "__import__('os')"), ("--import", "nothing.py")], ids=str)
def test_so_it_is_in_a_process_of_its_own(
    options: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    code, out, err = finish(start(environment, tmp_path / "results", *options))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\n", err)
    assert not (tmp_path / "results").exists()


# what can be configured


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_posterior_is_built_and_carries_a_regression(name: str) -> None:
    assert runner.build(config(posterior=POSTERIORS[name])).dataset.inputs.shape == (1297, 8, 8, 1)
    if name == "evidential":  # a Dirichlet distribution is over classes
        with pytest.raises(ValueError, match=r"evidential: likelihood: expected categorical\(\)"):
            runner.build(config(posterior=POSTERIORS[name], data="diabetes"))
        return
    assert runner.build(config(posterior=POSTERIORS[name], data="diabetes")).dataset.num_classes is None


@pytest.mark.parametrize("name", ["variance", "gaussian_bald", "bald", "epig(9)", "random", "core_set"])
def test_every_acquisition_of_a_regression_is_built(name: str) -> None:
    runner.build(config(acquisition=f"prefilter(variance, 50, {name})", data="diabetes", likelihood="auto(noise=None)"))


@pytest.mark.parametrize("name", [*SCORES, *ACQUISITIONS])
def test_every_acquisition_is_built_and_so_is_its_prefiltered_form(name: str) -> None:
    text = name if name in SCORES else ACQUISITIONS[name].text
    posterior = "mc_dropout" if name in SCORES else ACQUISITIONS[name].posterior
    if name == "deepfool":  # which moves inputs, and pixels of digits are stored as integers
        with pytest.raises(ValueError, match="deepfool moves inputs, and these are uint8"):
            runner.build(config(acquisition=text))
        return
    plain = runner.build(config(acquisition=text, posterior=posterior)).acquisition
    if plain.shortlist is None:
        prefiltered = runner.build(config(acquisition=f"prefilter(bald, 50, {text})", posterior=posterior)).acquisition
        assert prefiltered.shortlist is not None
        assert prefiltered.shortlist[1] == 50


def test_every_name_is_listed_within_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner.console, "_width", 80)
    main(monkeypatch, "--list")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    first = {re.split(r"[ (]", line)[0] for line in shown.splitlines()}
    for kind in vocabulary.SOURCES:
        assert vocabulary.names(kind).keys() <= first, kind
    assert re.search(r"batchbald\(num_config.*Kirsch, van.*draws", shown)


MINE = """
from al_jax.acquisitions import top_k
from al_jax.types import Acquisition


def mine(log_probs):
    '''Deviation over samples and classes (Mine 2026).'''
    return log_probs.std((-1, -2))


def method(power: int = 3) -> Acquisition:
    '''Whatever the power.'''
    return top_k(mine)
"""


def test_names_of_a_file_are_listed_and_a_method_of_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine_for_list.py"
    file.write_text(MINE)
    monkeypatch.setattr(runner.console, "_width", 80)
    main(monkeypatch, "--list", "--import", str(file))
    shown = capsys.readouterr().out
    assert re.search(r"^mine +Deviation over", shown, re.MULTILINE)
    assert re.search(r"^method\(power=3\) +Whatever the", shown, re.MULTILINE)
    chosen = config(acquisition="method(power=4)", imports=(str(file),))
    assert identity(chosen)["acquisition"] == "method(power=4)"
    assert runner.build(chosen).acquisition.shortlist is None


def test_a_function_of_a_file_runs_by_its_name_and_the_file_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "mine_for_run.py"
    file.write_text(MINE)
    chosen = config(acquisition="prefilter(mine, 50, mine)", imports=(str(file),))
    done = runner.run_experiment(chosen, tmp_path / "run", RunOptions())
    assert done.rounds["num_labelled"].tolist() == [20, 30, 40]
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["imports"] == {str(file): hashlib.sha256(MINE.encode()).hexdigest()}
    assert from_recipe(stored) == dataclasses.replace(chosen, **{k: stored[k] for k in ("network", "training")})


def test_texts_that_mean_the_same_are_the_same_run(tmp_path: Path) -> None:
    same = config(acquisition="top_k( bald )", training="steps=4, adam(1e-3)")
    assert identity(same) == identity(config())
    assert identity(config(acquisition="entropy")) != identity(config())


def test_the_pool_changes_after_validation_rows_left_it() -> None:
    plain = vocabulary.dataset("with_validation(digits, 100)")
    text = "repeated(noisy_labels(imbalanced(with_validation(digits, 100), 0.1, (1, 2)), 0.2), 2)"
    varied = vocabulary.dataset(text)
    assert np.array_equal(varied.validation_inputs, plain.validation_inputs)
    assert np.array_equal(varied.validation_labels, plain.validation_labels)
    assert np.array_equal(varied.test_labels, plain.test_labels)
    assert len(varied.labels) % 2 == 0
    assert np.array_equal(*np.split(varied.labels, 2))  # copies get the same answer


CAMPAIGNS = {
    "ensemble, core-set, label noise": {
        "posterior": "ensemble(point, 2)",
        "acquisition": "core_set",
        "data": "noisy_labels(digits, 0.3)",
    },
    "variational, stochastic, repeated": {
        "posterior": "variational",
        "acquisition": "stochastic_top_k(entropy, 'softmax')",
        "data": "repeated(digits, 2)",
    },
    "DEBAL, prefilter, warm start": {
        "posterior": "ensemble(mc_dropout, 2)",
        "acquisition": "prefilter(entropy, 30, variation_ratio)",
        "warm_start": True,
    },
    "guide of some layers": {"posterior": "svi(prior={'Dense_1': 0.3}, guide='low_rank')"},
    "rare classes, early stopping": {
        "acquisition": "random",
        "data": "imbalanced(with_validation(digits, 40), 0.2, (1, 2))",
        "training": "adam, epochs=4, early_stopping(1)",
    },
}


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_campaign_reaches_its_budget_and_takes_the_answers_of_its_data_set(name: str, tmp_path: Path) -> None:
    fields = {"max_labels": 35, **CAMPAIGNS[name]}
    done = runner.run_experiment(config(**fields), tmp_path / "run", RunOptions())
    dataset = runner.build(config(**fields)).dataset
    assert done.stopped == {}
    assert done.rounds["num_labelled"].tolist() == [20, 30, 35]
    assert np.isfinite(done.rounds[["accuracy", "nll"]]).all(axis=None)
    assert len(done.acquired) == done.acquired["row"].nunique() == 20 + 15
    assert done.acquired["label"].tolist() == dataset.labels[done.acquired["row"]].tolist()


def test_a_regression_runs_from_configuration_to_table_and_picture(tmp_path: Path) -> None:
    fields = {"data": "diabetes", "posterior": "laplace", "seeds": 2, "max_labels": 35}
    done = runner.run_experiment(config(**fields), tmp_path / "run", RunOptions())
    dataset = runner.build(config(**fields)).dataset
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
    built = runner.build(config(data="diabetes", posterior="point"))

    def oracle(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(rows.shape, np.nan), np.ones(rows.shape, bool)

    settings = config().settings
    with pytest.raises(ValueError, match=r"label of row \d+ is nan: expected a finite number"):
        campaign.run(
            built.posterior, built.acquisition, built.dataset, settings, likelihood=built.likelihood, oracle=oracle
        )
