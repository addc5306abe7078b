"""The report on made-up kept results: what its tables say, what it draws, and what it refuses."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import ROOT

from al_jax.campaign.store import StoreError
from experiments.experiment import Experiment
from experiments.published.runs import NEVER
from experiments.recipes import beluch2018, gal2017, kirsch2019
from experiments.reproduction import comparison, kept, report, study, text
from experiments.reproduction.comparison import Quantity, chance_inside, place
from experiments.reproduction.papers import BELUCH, KIRSCH, PAPERS
from experiments.reproduction.report import Report
from experiments.reproduction.study import Study

STUDIES: dict[str, Any] = {"gal2017": gal2017, "kirsch2019": kirsch2019, "beluch2018": beluch2018}
KINDS: dict[str, type[Study]] = {paper.name: paper.study for paper in PAPERS}


def keep(root: Path, paper: str, variant: str, arm: str, reaches: tuple[tuple[int, int], ...]) -> Path:
    """Seeds as if they had been run: each reaches 90 and 95 % at these numbers of labels."""
    chosen = study.from_variant(KINDS[paper], variant)
    config: Experiment = study.configuration(chosen, arm, STUDIES[paper].recipe)
    folder, settings = root / paper / variant / arm, config.settings
    folder.mkdir(parents=True)
    labels = [*range(settings.initial_labels, settings.max_labels, settings.batch_size), settings.max_labels]
    for seed, (to_90, to_95) in enumerate(reaches):
        accuracy = np.interp(labels, [0, to_90, to_95, 10_000], [0.5, 0.9, 0.95, 0.96])
        rounds = pd.DataFrame({"seed": seed, "round": range(len(labels)), "num_labelled": labels, "accuracy": accuracy})
        rounds.assign(nll=1 - accuracy, ece=0.02, brier=0.3, fit_steps=79 * (seed + 4)).to_csv(
            folder / f"seed{seed}.csv", index=False
        )
        picks = [(seed, n, pick) for n in range(len(labels) - 1) for pick in range(settings.batch_size)]
        acquired = pd.DataFrame(picks, columns=["seed", "round", "pick"]).assign(row=0, label=0)
        acquired["info_saturation"] = (acquired["pick"] + 1) / settings.batch_size * (0.9 + 0.01 * seed)
        acquired.to_csv(folder / f"acquired_seed{seed}.csv", index=False)
    run = {
        "seeds": list(range(len(reaches))),
        "command": "python -m experiments.recipes.gal2017",
        "hours": 0.5 * len(reaches),
        "stopped": {},
        "environment": {"devices": 2, "device_kind": "cpu"},
    }
    (folder / "run.json").write_text(json.dumps({"configuration": kept.recipe(config), "runs": [run]}))
    return folder


BALD = ((230, 240), (250, 260), (290, 300))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    results = tmp_path / "kept"
    keep(results, "gal2017", "cpu", "bald", BALD)
    keep(results, "gal2017", "cpu", "random", ((110, 2000), (120, 2000), (310, 2000)))
    keep(results, "kirsch2019", "paper", "batchbald_b10", ((100, 200),))
    keep(results, "kirsch2019", "cpu", "batchbald_b10", ((300, 2000),) * 3)
    return results


def written(root: Path) -> Path:
    output = root.parent / "docs"
    report.write(Report(root, output))
    return output


def row(output: Path, paper: str, arm: str, preset: str, quantity: str, at: float) -> pd.Series:
    table = pd.read_csv(output / f"{paper}.csv", keep_default_na=False, na_values=[""])
    chosen = table[(table["arm"] == arm) & (table["preset"] == preset) & (table["quantity"] == quantity)]
    (index,) = chosen.index[chosen["at"] == at]
    return table.loc[index]


def test_the_table_has_both_sides_and_says_inside_or_outside(root):
    output = written(root)
    ours = row(output, "gal2017", "bald", "cpu", "labels", 0.9)
    assert ours[["published_min", "published_median", "published_max", "published_runs"]].tolist() == [230, 250, 270, 3]
    assert ours[["q25", "median", "q75", "seeds"]].tolist() == [230, 250, 290, 3]
    assert ours[["verdict", "seeds_inside", "evidence"]].tolist() == ["inside", 2, "LOGS"]
    assert ours[["hours_a_seed", "device"]].tolist() == [0.5, "2 x cpu"]
    below = row(output, "gal2017", "bald", "cpu", "labels", 0.95)
    assert below[["median", "verdict", "seeds_inside"]].tolist() == [260, "below", 0]
    # Ended at 300 labels, but theirs needed 740 to 940.
    never = row(output, "gal2017", "random", "cpu", "labels", 0.95)
    assert never[["median", "verdict"]].tolist() == [math.inf, "open"]
    higher = row(output, "gal2017", "random", "cpu", "accuracy", 200)
    assert higher[["verdict", "seeds_inside"]].tolist() == ["above", 0]
    assert row(output, "gal2017", "bald", "cpu", "accuracy", 1000)["seeds"] == 0


def test_presets_are_rows_of_their_own(root):
    output = written(root)
    assert row(output, "kirsch2019", "batchbald_b10", "paper", "labels", 0.9)["median"] == 100
    assert row(output, "kirsch2019", "batchbald_b10", "cpu", "labels", 0.9)["median"] == 300
    saturation = row(output, "kirsch2019", "batchbald_b10", "cpu", "saturation", 0)
    assert saturation[["q25", "median", "q75"]].tolist() == pytest.approx([0.9, 0.91, 0.92], abs=0.011)
    assert saturation[["published_median"]].tolist() == [0.982]
    epochs = row(output, "kirsch2019", "batchbald_b10", "cpu", "epochs", 0)
    assert epochs[["q25", "median", "q75"]].tolist() == [4, 5, 6]
    assert epochs[["published_min", "published_max"]].tolist() == [6.4, 7.3]
    assert math.isnan(epochs["seeds_inside"])  # told, not judged


def test_the_markdown_is_complete(root, capsys):
    output = written(root)
    text = (output / "reproductions.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| `bald`")]
    assert lines == ["| `bald` | published [LOGS] | 3 | 250 [230, 270] | 360 [360, 380] | 80.6 [78.3, 80.9] | "
                     "89.7 [84.1, 89.7] | 93.2 [92.0, 94.1] | 98.2 [98.1, 98.3] |  |  |"]  # fmt: skip
    after = text.splitlines()[text.splitlines().index(lines[0]) + 1]
    assert after.startswith(
        "|  | ours, cpu | 3 | 250 [230, 290]<br>inside 2/3 | 260 [240, 300]<br>outside, below 0/3 |"
    )
    assert after.endswith("| 0.5 | 2 x cpu |")
    for paper in PAPERS:
        assert paper.note in text
        for part in paper.parts:
            missing = [arm for arm in part.arms if f"`{arm}`" not in text]
            assert missing == []
    assert text.count("ours: not run") == sum(len(paper.arms) for paper in PAPERS) - 3
    assert "Preset cpu: " in text
    assert "of an exact repetition on average" in text
    out = capsys.readouterr().out
    assert "gal2017: MC dropout" in out
    assert "below 0/3" in out


def test_a_figure_has_a_panel_for_what_was_run(root):
    output = written(root)
    assert (output / "gal2017.png").stat().st_size > 20_000
    assert not (output / "beluch2018.png").exists()
    found = comparison.collect(root, KIRSCH)
    drawn = report.figure.figure(KIRSCH, found)
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["MNIST; preset cpu", "MNIST; preset paper"]
    (axes, _) = drawn.axes
    (line,) = [line for line in axes.get_lines() if line.get_label() == "batchbald_b10 (3 seeds)"]
    assert line.get_xdata()[-1] == 300
    assert line.get_ydata()[-1] == pytest.approx(0.9)


def test_calibration_is_in_tables_and_figure(tmp_path):
    keep(tmp_path / "kept", "beluch2018", "cpu", "ens_bald", BALD)
    output = written(tmp_path / "kept")
    nll = row(output, "beluch2018", "ens_bald", "cpu", "nll", 300)
    accuracy = row(output, "beluch2018", "ens_bald", "cpu", "accuracy", 300)
    assert nll["median"] == pytest.approx(1 - accuracy["median"])
    assert math.isnan(nll["published_median"])
    text = (output / "reproductions.md").read_text()
    assert "| NLL at 300 | ECE in % at 100 | ECE in % at 300 | Brier score at 100 |" in text
    drawn = report.figure.figure(BELUCH, comparison.collect(tmp_path / "kept", BELUCH))
    assert len(drawn.axes) == 4


@pytest.mark.parametrize(
    ("value", "runs", "budget", "their_budget", "expected"),
    [
        (250, (230, 270), 300, 300, "inside"),
        (270, (230, 270), 300, 300, "inside"),
        (220, (230, 270), 300, 300, "below"),
        (280, (230, 270), 300, 300, "above"),
        (NEVER, (230, 270), 300, 300, "above"),
        (NEVER, (230, 370), 300, 1000, "open"),
        (NEVER, (230, NEVER), 300, 290, "inside"),
        (NEVER, (NEVER, NEVER), 100, 290, "open"),
        (300, (NEVER, NEVER), 300, 290, "inside"),
        (280, (NEVER, NEVER), 300, 290, "below"),
        (0.9, (0.91, 0.93), 300, 300, "below"),
    ],
)
def test_inside_and_outside(value, runs, budget, their_budget, expected):
    assert place(value, runs, budget, their_budget) == expected


@pytest.mark.parametrize(("runs", "seeds"), [(3, 3), (6, 3), (6, 6), (3, 1), (2, 4)])
def test_chance_alone_is_sometimes_outside(runs, seeds):
    generator = np.random.default_rng(0)
    theirs, ours = generator.random((20_000, runs)), generator.random((20_000, seeds))
    median = np.quantile(ours, 0.5, axis=1, method="nearest")
    inside = np.mean((theirs.min(1) <= median) & (median <= theirs.max(1)))
    assert chance_inside(runs, seeds) == pytest.approx(inside, abs=0.015)


def test_numbers_are_written_as_people_read_them():
    assert text.number(Quantity("labels", 0.9), math.inf) == "never"
    assert text.spread(Quantity("labels", 0.9), 90, 90, 90) == "90"
    assert text.spread(Quantity("accuracy", 100), 0.8012, 0.85, math.nan) == "85.0 [80.1, nan]"
    assert text.header(Quantity("labels", 0.45)) == "labels to 45 %"


@pytest.mark.parametrize("name", ["cpu", "paper,max_labels=60", "paper,initial=balanced", "cpu,max_labels=60"])
def test_a_variant_is_named_and_found_again(name):
    kind = kirsch2019.Kirsch2019
    assert study.variant(study.from_variant(kind, name)) == name


def edited(folder: Path, field: str, value: Any) -> None:
    stored = json.loads((folder / "run.json").read_text())
    stored["configuration"][field] = value
    (folder / "run.json").write_text(json.dumps(stored))


def shortened(folder: Path) -> None:
    path = folder / "seed1.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def impossible(folder: Path) -> None:
    path = folder / "seed0.csv"
    path.write_text(path.read_text().replace(",0.5", ",5"))


def without(folder: Path, column: str) -> None:
    for path in folder.glob("seed*.csv"):
        pd.read_csv(path).drop(columns=column).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda bald: edited(bald, "training", "adam, epochs=40"),
            r"seeds of another.*training \(adam, epochs=40, not",
        ),
        (lambda bald: bald.parent.rename(bald.parents[1] / "paper"), r"another recipe.* max_labels \(300, not 1000"),
        (lambda bald: bald.rename(bald.parent / "blad"), "blad: gal2017 has no arm of this name"),
        (lambda bald: bald.parent.rename(bald.parents[1] / "gpu"), "'gpu' names no recipe: expected paper, cpu or"),
        (lambda bald: bald.parents[1].rename(bald.parents[2] / "gal2018"), "gal2018 is of no paper"),
        (lambda bald: (bald / "run.json").write_text("{"), r"run\.json is damaged"),
        (lambda bald: (bald / "seed1.csv").write_text("see"), r"seed1\.csv cannot be read"),
        (shortened, r"seed1\.csv has 28 rounds, which are not its recipe's 29 from 20 labels to 300"),
        (lambda bald: without(bald, "nll"), "without the column nll"),
        (impossible, r"seed0\.csv has an accuracy that is not"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_written(root, damage, message):
    damage(root / "gal2017" / "cpu" / "bald")
    with pytest.raises(StoreError, match=message) as caught:
        written(root)
    assert "\n" not in str(caught.value)
    assert not (root.parent / "docs").exists()


def test_a_stopped_seed_may_have_fewer_rounds(root):
    folder = root / "gal2017" / "cpu" / "bald"
    shortened(folder)
    stored = json.loads((folder / "run.json").read_text())
    stored["runs"][0]["stopped"] = {"1": "the loss was not finite"}
    (folder / "run.json").write_text(json.dumps(stored))
    assert row(written(root), "gal2017", "bald", "cpu", "accuracy", 300)["seeds"] == 2


def test_without_results_every_arm_is_not_run(tmp_path):
    (tmp_path / "kept" / "gal2017" / "smoke" / "bald").mkdir(parents=True)
    output = written(tmp_path / "kept")
    table = pd.read_csv(output / "kirsch2019.csv")
    assert set(table["preset"]) == {"not run"}
    assert table["published_median"].notna().any()
    assert not list(output.glob("*.png"))


def test_the_command_ends_in_one_sentence(root):
    shutil.rmtree(root / "kirsch2019")
    edited(root / "gal2017" / "cpu" / "bald", "data", "noisy_labels(mnist, 0.1)")
    command = [
        sys.executable,
        "-m",
        "experiments.reproduction.report",
        "--results",
        str(root),
        "--output",
        str(root.parent / "docs"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "data (noisy_labels(mnist, 0.1), not subset(mnist, 40020))" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"^results=.*none': expected a folder of kept results"):
        written(tmp_path / "none")
