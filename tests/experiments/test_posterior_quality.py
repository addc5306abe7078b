"""Measures of a posterior against closed forms and brute force, and the whole comparison in small."""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from command_line import only_run
from scipy import stats

from al_jax.campaign import store
from al_jax.types import Predictions
from experiments.posterior_quality import __main__ as quality
from experiments.posterior_quality.measures import Beliefs, beliefs, compare, exact_beliefs
from experiments.posterior_quality.references import (
    NOISE,
    POSTERIORS,
    PRESETS,
    TASKS,
    applies,
    exact_weights,
    joint_rows,
)
from experiments.posterior_quality.tables import MEASURES

SIZES = dataclasses.replace(PRESETS["smoke"], pool=30, test=40, joint_batches=20, near=2)
LINEAR, SOFTMAX = TASKS["linear"], TASKS["softmax"]
PROBLEM = LINEAR.problem(0, SIZES)
ROWS = joint_rows(0, PROBLEM, SIZES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program itself, with the cheapest posteriors of a linear and of a nonlinear task."""
    results = tmp_path_factory.mktemp("quality")
    with pytest.MonkeyPatch.context() as patch:
        main(patch, "--results-dir", str(results))
    return only_run(results)


def main(patch: pytest.MonkeyPatch, *options: str) -> None:
    chosen = ["--tasks", "linear", "two_moons", "--posteriors", "point", "laplace_diag"]
    patch.setattr(sys, "argv", ["posterior_quality", *chosen, "--preset", "smoke", *options])
    quality.main()


# The closed form


def test_exact_weights_predict_as_the_gaussian_process_of_the_same_prior() -> None:
    """k(x, x') = prior_std^2 (x . x' + 1): the dual form, which never sees the weights."""
    x, new = (part.astype(np.float64) for part in (PROBLEM.inputs, PROBLEM.test_inputs))
    prior_std = 1.7

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return prior_std**2 * (a @ b.T + 1)

    gain = np.linalg.solve(kernel(x, x) + NOISE**2 * np.eye(len(x)), kernel(x, new)).T
    mean, covariance = exact_weights(PROBLEM, prior_std).function(PROBLEM.test_inputs)
    np.testing.assert_allclose(mean, gain @ PROBLEM.labels, rtol=1e-8)
    np.testing.assert_allclose(covariance, kernel(new, new) - gain @ kernel(x, new), atol=1e-8)


def test_exact_beliefs_are_densities_of_scipys_normals() -> None:
    weights, found = exact_weights(PROBLEM, 1.0), exact_beliefs(LINEAR, PROBLEM, ROWS)
    mean, covariance = weights.function(PROBLEM.test_inputs)
    noisy, y = covariance + NOISE**2 * np.eye(len(mean)), PROBLEM.test_labels
    nll = np.mean([-stats.norm(mean[i], noisy[i, i] ** 0.5).logpdf(y[i]) for i in range(len(y))])
    joint = np.mean([-stats.multivariate_normal(mean[r], noisy[np.ix_(r, r)]).logpdf(y[r]) for r in ROWS])
    np.testing.assert_allclose(found.nll, nll, rtol=1e-8)
    np.testing.assert_allclose(found.joint_nll, joint / ROWS.shape[1], rtol=1e-8)
    of_pool = np.diag(weights.function(PROBLEM.pool)[1])
    np.testing.assert_allclose(found.bald, 0.5 * np.log((of_pool + NOISE**2) / NOISE**2), rtol=1e-8)


def test_many_exact_draws_are_as_good_as_the_closed_form() -> None:
    x = np.concatenate([PROBLEM.test_inputs, PROBLEM.pool])
    draws = exact_weights(PROBLEM, 1.0).draws(0, 20_000, x)
    exact = exact_beliefs(LINEAR, PROBLEM, ROWS)
    found = compare(beliefs(LINEAR, draws, PROBLEM, ROWS), exact, top=5)
    assert found["mean_error"] < 4 / 20_000**0.5
    assert found["bald_rank"] > 0.99
    assert abs(found["nll_excess"]) < 0.01
    assert abs(found["joint_nll_excess"]) < 0.05
    assert np.isnan(found["ece"])


def test_the_penalty_of_a_point_estimate_is_the_prior() -> None:
    """Its network is the mode, which for Gaussian noise is the exact mean."""
    sizes = dataclasses.replace(SIZES, steps=2000)
    program = quality.compiled(["point"], LINEAR, sizes)["point"]
    state, _ = program.fit(jax.random.key(0), quality.labelled(PROBLEM))
    predicted = program.predict(jax.random.key(1), state, quality.judged_rows(PROBLEM))
    exact = exact_beliefs(LINEAR, PROBLEM, ROWS)
    found = compare(beliefs(LINEAR, predicted, PROBLEM, ROWS), exact, top=5)
    assert found["mean_error"] < 0.02
    assert np.isnan(found["bald_rank"]), "K = 1 knows nothing of what it does not know"
    assert found["joint_nll_excess"] > 0


# Measures


def test_beliefs_of_a_classifier_are_those_of_loops_over_probabilities() -> None:
    problem = SOFTMAX.problem(1, SIZES)
    rows, generator = joint_rows(1, problem, SIZES), np.random.default_rng(0)
    p = generator.dirichlet(np.ones(3), (SIZES.test + SIZES.pool, 7))  # [n, K, C]
    log_p = jnp.asarray(np.log(p), jnp.float32)
    found = beliefs(SOFTMAX, Predictions(log_p, log_p[:, 0]), problem, rows)
    y, mean = problem.test_labels, p.mean(1)
    np.testing.assert_allclose(found.mean, mean[: SIZES.test], rtol=1e-5)
    np.testing.assert_allclose(found.nll, -np.mean([np.log(mean[i, y[i]]) for i in range(SIZES.test)]), rtol=1e-5)
    joints = [np.mean([np.prod([p[i, k, y[i]] for i in batch]) for k in range(7)]) for batch in rows]
    np.testing.assert_allclose(found.joint_nll, -np.log(joints).mean() / rows.shape[1], rtol=1e-5)
    told = stats.entropy(mean, axis=-1) - stats.entropy(p, axis=-1).mean(-1)
    np.testing.assert_allclose(found.bald, told[SIZES.test :], atol=1e-5)


def judged(scores: list[float], mean: float = 0.5) -> Beliefs:
    return Beliefs(np.array([[mean, 1 - mean]]), np.array(scores), 1.0, 0.5, 0.1)


def test_a_reference_is_perfect_and_the_reversed_ranking_the_worst() -> None:
    reference = judged([0.1, 0.2, 0.3, 0.4])
    same, other = (compare(judged(s, m), reference, 2) for s, m in (([1, 2, 3, 4], 0.5), ([4, 3, 2, 1], 0.8)))
    assert (same["mean_error"], same["bald_rank"], same["bald_top"]) == (0, 1, 1)
    np.testing.assert_allclose((other["mean_error"], other["bald_rank"], other["bald_top"]), (0.3, -1, 0))
    assert same["nll_excess"] == same["joint_nll_excess"] == 0


def test_scores_that_are_all_equal_have_no_rank() -> None:
    found = compare(judged([0.1, 0.1, 0.1 + 1e-7]), judged([0.1, 0.2, 0.3]), 1)
    assert np.isnan([found["bald_rank"], found["bald_top"]]).all()


def test_a_joint_batch_is_two_rows_with_their_nearest_neighbours_and_no_row_twice() -> None:
    x = PROBLEM.test_inputs.astype(np.float64)
    assert ROWS.shape == (20, 4)
    for first, second in ROWS.reshape(20, 2, 2):
        assert len({*first, *second}) == 4
        near = np.argsort(np.linalg.norm(x[:, None] - x, axis=-1), axis=1)
        assert list(first) == list(near[first[0], :2])
        others = [[row for row in of_anchor if row not in first][:2] for of_anchor in near]
        assert list(second) in others, "the nearest to some row, of those that are left"


def test_a_reference_whose_chains_disagree_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    info = {"r_hat": jnp.asarray(1.2), "divergences": jnp.asarray(3)}
    assert quality.diagnosed(info, "digits", "judge", 4) == {"r_hat": pytest.approx(1.2), "divergences": 3.0}
    said = capsys.readouterr().out
    assert "digits, judge, seed 4: R-hat" in said
    assert "1.200" in said
    quality.diagnosed(info | {"r_hat": jnp.asarray(1.01)}, "digits", "judge", 4)
    assert capsys.readouterr().out == ""


# The whole


def test_every_posterior_has_a_row_for_every_seed_with_finite_measures(run: Path) -> None:
    table = pd.read_csv(run / "table.csv")
    assert list(table.columns) == ["task", "posterior", "seed", "samples", *MEASURES]
    expected = {
        "linear": ["judge", "reference", "point", "laplace_diag"],
        "two_moons": ["judge", "reference", "point", "laplace_diag"],
    }
    for task, names in expected.items():
        rows = table[table["task"] == task]
        assert list(rows[rows["seed"] == 0]["posterior"]) == names
        assert list(rows["seed"]) == [0] * len(names) + [1] * len(names)
    assert np.isfinite(table[["mean_error", "nll", "joint_nll", "nll_excess", "joint_nll_excess"]]).all(axis=None)
    unranked = table[table["bald_rank"].isna()]
    assert set(unranked["posterior"]) == {"point"}
    assert np.isfinite(table[table["task"] == "two_moons"]["ece"]).all()
    again = table[(table["task"] == "two_moons") & table["posterior"].isin(["judge", "reference"])]
    assert np.isfinite(again[["r_hat", "divergences"]]).all(axis=None)


def test_nothing_is_closer_to_nuts_than_nuts(run: Path) -> None:
    table = pd.read_csv(run / "table.csv")
    for _, of_seed in table[table["task"] == "two_moons"].groupby("seed"):
        values = of_seed.set_index("posterior")
        others = values.drop(index=["judge", "reference"])
        assert values["mean_error"]["judge"] == 0
        assert (values["mean_error"]["reference"] < others["mean_error"]).all()
        assert (values["bald_rank"]["reference"] > others["bald_rank"].dropna()).all()
        assert values["joint_nll"]["reference"] < values["joint_nll"]["point"]


def test_the_summary_is_the_mean_over_seeds_with_students_interval(run: Path) -> None:
    table, summary = (pd.read_csv(run / f"{name}.csv") for name in ("table", "summary"))
    values = table[(table["task"] == "two_moons") & (table["posterior"] == "laplace_diag")]["nll"]
    row = summary[(summary["task"] == "two_moons") & (summary["posterior"] == "laplace_diag")].iloc[0]
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([row["nll"], row["nll_low"], row["nll_high"]], [values.mean(), *interval], rtol=1e-6)
    assert row["seeds"] == 2


def test_the_plane_is_drawn(run: Path) -> None:
    assert (run / "two_moons.png").read_bytes().startswith(b"\x89PNG")
    assert not (run / "linear.png").exists()


def test_a_finished_run_is_shown_not_repeated(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quality, "run_task", lambda *_: pytest.fail("it was run again"))
    main(monkeypatch, "--results-dir", str(run.parent.parent))
    out = capsys.readouterr().out
    assert "finished" in out
    assert "laplace_diag" in out


def test_an_unfinished_run_needs_resume_and_keeps_its_finished_tasks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "posterior_quality" / run.name
    there.mkdir(parents=True)
    for name in ("config.json", "environment.json", "linear.csv", "two_moons.csv"):
        (there / name).write_bytes((run / name).read_bytes())
    monkeypatch.setattr(quality, "run_task", lambda *_: pytest.fail("a finished task was run again"))
    with pytest.raises(store.StoreError, match="--resume"):
        main(monkeypatch, "--results-dir", str(tmp_path))
    main(monkeypatch, "--results-dir", str(tmp_path), "--resume")
    assert (there / "table.csv").read_bytes() == (run / "table.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "two_moon"], "tasks='two_moon' is unknown: did you mean 'two_moons'"),
        (["--posteriors", "laplace"], "posteriors='laplace' is unknown: did you mean 'laplace_"),
        (["--seeds", "0"], "seeds=0: expected at least 1"),
    ],
)
def test_a_bad_input_leaves_no_folder(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=message):
        main(monkeypatch, *options, "--results-dir", str(tmp_path / "results"))
    assert list(tmp_path.iterdir()) == []


def test_a_linear_model_has_nothing_to_drop() -> None:
    assert [name for name in POSTERIORS if not applies(name, LINEAR)] == ["mc_dropout", "debal"]
    assert all(applies(name, TASKS["digits"]) for name in POSTERIORS)
