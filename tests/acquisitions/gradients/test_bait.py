"""BAIT and its kernel form by explicit matrices in float64, and Frank-Wolfe in features."""

import numpy as np
import pytest
from acquisitions.pools import B, C, D, N, pool, probabilities, take

from al_jax.acquisitions import bait, kernel_bait, kernel_frank_wolfe


def roots(log_probs, features):
    """V of every row, [n, C D, C]: column c is sqrt(p_c) (e_c - p) (x) h."""
    p = probabilities(log_probs)
    found = [
        np.stack([np.sqrt(q[c]) * np.kron(np.eye(C)[c] - q, h) for c in range(C)], axis=1)
        for q, h in zip(p, features, strict=True)
    ]
    return np.array(found).reshape(len(p), C * features.shape[1], C)


def traces(p, ridge):
    """tr(M^-1 F) of any set of rows, by inverting."""
    mine, known = roots(p.log_probs, p.features), roots(p.labelled_log_probs, p.labelled_features)
    information, of_known = mine @ mine.transpose(0, 2, 1), known @ known.transpose(0, 2, 1)
    offered = information[p.available]
    fisher = (offered.sum(0) + of_known.sum(0)) / (len(offered) + len(known))
    start = ridge * np.eye(C * D) + of_known.sum(0)
    return lambda rows: np.trace(np.linalg.inv(start + information[list(rows)].sum(0)) @ fisher)


def near_best(value, values):
    """Whether a value is the smallest of all, to float32's accuracy."""
    return value <= min(values) + 1e-4 * abs(min(values)) + 1e-6


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [0, 6])
@pytest.mark.parametrize("ridge", [1.0, 0.1])
def test_every_pick_of_the_forward_pass_lowers_the_trace_most(seed, labelled, ridge):
    p = pool(seed, labelled)
    trace, offered = traces(p, ridge), np.flatnonzero(p.available).tolist()
    found = take(bait(ridge, oversample=1), p)
    picks = found.indices.tolist()
    for n, pick in enumerate(picks):
        others = {row: trace([*picks[:n], row]) for row in offered if row not in picks[:n]}
        assert near_best(others[pick], others.values())
        assert found.scores[n] == pytest.approx(trace(picks[:n]) - others[pick], rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_backward_pass_drops_what_raises_the_trace_least(seed):
    p = pool(seed)
    trace = traces(p, 1.0)
    picks = take(bait(oversample=1), p, batch_size=2 * B).indices.tolist()  # the forward pass alone
    kept = list(picks)
    while len(kept) > B:
        after = {row: trace([other for other in kept if other != row]) for row in kept}
        kept.remove(min(after, key=after.get))
    found = take(bait(oversample=2), p).indices.tolist()
    assert trace(found) == pytest.approx(trace(kept), rel=1e-3)
    assert set(found) <= set(picks)


def test_certain_rows_carry_no_information():
    p = pool(0)
    log_probs = p.log_probs.copy()
    log_probs[:20] = np.log(np.maximum(np.eye(C)[0], 0) + 1e-30)
    log_probs[:20] -= np.log(np.exp(log_probs[:20]).sum(-1, keepdims=True))
    found = take(bait(), p, log_probs=log_probs, available=np.ones(N, bool), batch_size=10)
    assert set(found.indices.tolist()) == set(range(20, 30))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [0, 6])
def test_kernel_bait_lowers_the_mean_variance_most(seed, labelled):
    p = pool(seed, labelled)
    offered = np.flatnonzero(p.available).tolist()
    rows = p.features
    noise = 0.05 * (rows[offered] ** 2).sum(1).mean()

    def mean_variance(batch):
        seen = np.concatenate([p.labelled_features, rows[batch]])
        covariance = np.linalg.inv(np.eye(D) + seen.T @ seen / noise)
        return np.mean([rows[u] @ covariance @ rows[u] for u in offered])

    found = take(kernel_bait(noise=0.05), p)
    picks = found.indices.tolist()
    for n, pick in enumerate(picks):
        others = {row: mean_variance([*picks[:n], row]) for row in offered if row not in picks[:n]}
        assert near_best(others[pick], others.values())
        assert found.scores[n] == pytest.approx(mean_variance(picks[:n]) - others[pick], rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_kernel_frank_wolfe_walks_towards_the_sum_of_all_rows(seed):
    p = pool(seed)
    rows, offered = p.features, np.flatnonzero(p.available)
    lengths, whole = np.linalg.norm(rows, axis=1), rows[offered].sum(0)
    total, at, picks, errors = lengths[offered].sum(), np.zeros(D), [], []
    while len(picks) < B and len(errors) < 20 * B:
        row = offered[np.argmax(rows[offered] @ (whole - at) / lengths[offered])]
        step = total / lengths[row] * rows[row] - at
        at = at + np.clip(step @ (whole - at) / (step @ step), 0, 1) * step
        errors.append(np.linalg.norm(whole - at))
        if row not in picks:
            picks.append(row)
            first = len(errors) - 1
            assert errors[first] <= min(errors) + 1e-9
    found = take(kernel_frank_wolfe(), p)
    twins = {5: 6, 6: 5}  # two equal rows
    for pick, expected in zip(found.indices[: len(picks)].tolist(), picks, strict=True):
        assert pick == expected or twins.get(pick) == expected
        if not np.isclose(rows[pick], rows[expected]).all():
            break


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bait(0.0), r"ridge=0\.0: expected a positive"),
        (lambda: bait(oversample=0), "oversample=0: expected at least 1"),
        (lambda: kernel_bait(noise=0), "noise=0: expected a positive"),
        (lambda: kernel_bait("gradients"), "representation='gradients': expected 'features'"),
        (lambda: kernel_frank_wolfe("gradients"), "representation='gradients': expected 'features'"),
        (
            lambda: take(bait(), pool(0), features=np.ones((N, 2000)), labelled_features=np.ones((6, 2000))),
            "C D = 6000",
        ),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
