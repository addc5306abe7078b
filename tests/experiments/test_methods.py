"""The comparison of all methods: arms are kept one by one, and the table is made of what there is."""

import pandas as pd
import pytest

from al_jax import vocabulary
from experiments import methods
from experiments.methods import METHODS, Options, file_of, run, table


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> Options:
    return Options(seeds=2, max_labels=30, results_dir=tmp_path_factory.mktemp("methods"), output=None)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_an_expression(method: str) -> None:
    assert vocabulary.expression("acquisition", method).text


def test_files_are_as_many_as_arms_and_safe_names() -> None:
    files = {file_of(Options(), "ensemble(point, 5)", 10, method) for method in METHODS}
    assert len(files) == len(METHODS)
    assert all(file.name.replace("_", "").replace(".", "").isalnum() for file in files)


def test_an_arm_is_run_once_and_the_table_has_what_there_is(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table(options, "point", 10) == "", "no baseline yet"
    for method in ("random", "margin"):
        run(options, "point", 10, method)
    kept = pd.read_csv(file_of(options, "point", 10, "margin"))
    assert kept.num_labelled.tolist() == [20, 30, 20, 30]
    assert set(kept.method) == {"margin"}
    lines = table(options, "point", 10).splitlines()
    assert lines[0] == "## point, b = 10, 2 seeds"
    assert {line.split("|")[1].strip() for line in lines[4:]} == {"`random`", "`margin`"}
    difference = next(line for line in lines if "margin" in line).split("|")[4]
    random = pd.read_csv(file_of(options, "point", 10, "random"))
    gain = kept.accuracy.mean() - random.accuracy.mean()  # of two budgets, the mean is the area
    assert float(difference.split("[")[0]) == pytest.approx(100 * gain, abs=0.06)
    monkeypatch.setattr(methods, "run", lambda *_: pytest.fail("an arm that is there was run again"))
    folder = ["--results-dir", str(options.results_dir), "--output", str(options.results_dir / "table.md")]
    arms = ["--posteriors", "point", "--batch-sizes", "10", "--only", "random", "margin"]
    monkeypatch.setattr("sys.argv", ["methods", *arms, *folder])
    methods.main()
    assert "## point, b = 10, 2 seeds" in (options.results_dir / "table.md").read_text()
