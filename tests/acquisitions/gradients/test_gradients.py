"""Methods on last-layer gradients against references with the gradients written out, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import B, C, K, L, Pool, apart, gradients, pool, take
from scipy import stats

from al_jax.acquisitions import badge, core_set, farthest_first, kernel_kmeans_plus_plus, lcmd, max_det
from al_jax.acquisitions.toolbox.farthest_first import kmeans_plus_plus
from al_jax.acquisitions.toolbox.representations import draws, named
from al_jax.acquisitions.toolbox.representations import gradients as represented
from al_jax.acquisitions.toolbox.similarities import inner_products, squared_distances_to, squared_norms
from al_jax.types import Predictions


def test_the_factors_are_the_gradient_of_the_last_layer_s_loss():
    p = pool(0)
    h, log_probs = jnp.asarray(p.features, jnp.float32), jnp.asarray(p.log_probs, jnp.float32)
    outer, inner = represented(Predictions(log_probs, log_probs[:, 0], h))
    mean = np.exp(p.log_probs).mean(1)

    def loss(weights, row):  # a linear layer whose logits happen to be log p
        logits = weights @ h[row] - jax.lax.stop_gradient(weights @ h[row]) + jnp.log(mean[row])
        return -jax.nn.log_softmax(logits)[int(mean[row].argmax())]

    weights = jnp.zeros((C, h.shape[1]))
    for row in range(5):
        expected = jax.grad(loss)(weights, row)
        np.testing.assert_allclose(jnp.outer(outer[row], inner[row]), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_products_and_distances_of_factors_are_those_of_gradients_written_out(seed):
    p = pool(seed)
    g = gradients(p.log_probs, p.features)
    h, log_probs = jnp.asarray(p.features, jnp.float32), jnp.asarray(p.log_probs, jnp.float32)
    rows = represented(Predictions(log_probs, log_probs[:, 0], h))
    np.testing.assert_allclose(inner_products(rows, rows), g @ g.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(squared_norms(rows), (g**2).sum(1), rtol=1e-4)
    for row in (0, 5):
        np.testing.assert_allclose(
            squared_distances_to(rows, squared_norms(rows), row), ((g - g[row]) ** 2).sum(1), rtol=1e-4, atol=1e-5
        )
    assert float(squared_distances_to(rows, squared_norms(rows), 5)[6]) == 0.0, "duplicates are at distance 0 exactly"


def test_draws_are_the_posterior_s_covariance_of_log_probabilities():
    p = pool(1)
    log_probs = jnp.asarray(p.log_probs, jnp.float32)
    rows = draws(Predictions(log_probs, log_probs[:, 0]))
    centred = p.log_probs - p.log_probs.mean(1, keepdims=True)
    expected = sum(centred[:, :, c] @ centred[:, :, c].T / K for c in range(C))
    np.testing.assert_allclose(inner_products(rows, rows), expected, rtol=1e-4, atol=1e-4)


# BADGE


def test_badge_begins_with_the_largest_gradient():
    for seed in range(5):
        p = pool(seed)
        norms = np.where(p.available, np.linalg.norm(gradients(p.log_probs, p.features), axis=1), -1)
        found = take(badge(), p, seed=seed)
        assert norms[found.indices[0]] == pytest.approx(norms.max(), rel=1e-5)
        assert found.scores[0] == pytest.approx(norms.max(), rel=1e-5)


def test_badge_tells_the_distances_at_which_rows_were_drawn():
    p = pool(2)
    g = gradients(p.log_probs, p.features)
    found = take(badge(), p)
    for position in range(1, B):
        nearest = apart(g[found.indices[position]][None], g[found.indices[:position]]).min()
        assert found.scores[position] == pytest.approx(nearest, rel=1e-3, abs=1e-4)


def test_badge_draws_in_proportion_to_squared_distance():
    """The second of two rows, over many keys, on a pool of six."""
    p = pool(3, rows=8)
    p = p._replace(available=np.arange(8) != 2)
    g = gradients(p.log_probs, p.features)
    first = np.where(p.available, np.linalg.norm(g, axis=1), -1).argmax()
    weights = np.where(p.available, ((g - g[first]) ** 2).sum(1), 0)
    second = [int(take(badge(), p, 2, seed).indices[1]) for seed in range(1500)]
    counts, likely = np.bincount(second, minlength=8), weights > 1e-9
    assert counts[~likely].sum() == 0
    expected = 1500 * weights[likely] / weights.sum()
    assert stats.chisquare(counts[likely], expected).pvalue > 1e-3


def test_a_uniform_first_row_is_any_available_one():
    p = pool(4, rows=8)
    p = p._replace(available=np.arange(8) > 2)
    first = [int(take(badge("uniform"), p, 2, seed).indices[0]) for seed in range(600)]
    assert stats.chisquare(np.bincount(first, minlength=8)[3:]).pvalue > 1e-3


def test_badge_where_all_gradients_are_0_is_a_random_batch():
    p = pool(0)
    certain = np.full_like(p.log_probs, -np.inf)
    certain[..., 1] = 0.0
    batches = {tuple(sorted(take(badge(), p, 4, seed, log_probs=certain).indices.tolist())) for seed in range(8)}
    assert len(batches) == 8


def test_a_batch_of_all_rows():
    p = pool(0)._replace(available=np.ones(30, bool))
    for acquisition in (badge(), lcmd(), max_det(), kernel_kmeans_plus_plus()):
        assert sorted(take(acquisition, p, 30).indices.tolist()) == list(range(30))


def test_weights_of_d2_sampling_multiply_the_squared_distances():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
    weights, nearest = jnp.arange(1.0, 7.0), jnp.sum(rows**2, 1)

    @jax.vmap
    def first(key):
        return kmeans_plus_plus(key, (rows,), nearest, jnp.ones(6, bool), 1, weights).positions[0]

    counts = np.bincount(first(jax.random.split(jax.random.key(0), 3000)), minlength=6)
    expected = np.asarray(weights * nearest, float)
    assert stats.chisquare(counts, 3000 * expected / expected.sum()).pvalue > 1e-3


# LCMD and MaxDet


def follow_lcmd(g, known, picks):
    """Holzmueller et al. 2023, by loops: (rows that may be next, pick)."""
    centres, chosen = list(known), []
    for pick in picks:
        left = [row for row in range(len(g)) if row not in chosen]
        if not centres:
            norms = {row: (g[row] ** 2).sum() for row in left}
            yield {row for row in norms if norms[row] >= max(norms.values()) * (1 - 1e-5)}, pick
        else:
            owner = {row: int(np.argmin([((g[row] - c) ** 2).sum() for c in centres])) for row in left}
            distance = {row: ((g[row] - centres[owner[row]]) ** 2).sum() for row in left}
            size = {c: sum(distance[row] for row in left if owner[row] == c) for c in set(owner.values())}
            largest = max(size, key=lambda c: size[c])
            of_largest = {row: distance[row] for row in left if owner[row] == largest}
            yield {row for row in of_largest if of_largest[row] >= max(of_largest.values()) * (1 - 1e-4)}, pick
        chosen.append(pick)
        centres.append(g[pick])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labelled", [0, L])
def test_lcmd_takes_the_farthest_row_of_the_largest_cluster(seed, labelled):
    p = pool(seed, labelled)._replace(available=np.ones(30, bool))
    found = take(lcmd(), p)
    g, known = gradients(p.log_probs, p.features), gradients(p.labelled_log_probs, p.labelled_features)
    for allowed, pick in follow_lcmd(g, known, found.indices.tolist()):
        assert pick in allowed


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labelled", [0, L])
def test_max_det_takes_the_row_of_the_largest_variance(seed, labelled):
    """The Gaussian process's variance given labelled and chosen rows, by solving the whole system anew."""
    p = pool(seed, labelled)
    g, known = gradients(p.log_probs, p.features), gradients(p.labelled_log_probs, p.labelled_features)
    noise = 0.1 * (g[p.available] ** 2).sum(1).mean()
    found = take(max_det(noise=0.1), p)
    seen = list(known)
    for pick, score in zip(found.indices.tolist(), found.scores, strict=True):
        variances = {}
        for row in np.flatnonzero(p.available):
            at = np.array(seen).reshape(-1, g.shape[1])
            gram = at @ at.T + noise * np.eye(len(at))
            cross = at @ g[row]
            variances[int(row)] = g[row] @ g[row] - cross @ np.linalg.solve(gram, cross)
        left = {
            row: v for row, v in variances.items() if not any(row == x for x in found.indices[: len(seen) - labelled])
        }
        assert variances[pick] == pytest.approx(max(left.values()), rel=1e-3)
        assert score == pytest.approx(variances[pick], rel=1e-3)
        seen.append(g[pick])


def test_the_product_of_the_variances_is_the_determinant():
    p = pool(1, 0)
    g = gradients(p.log_probs, p.features)
    noise = 0.5 * (g[p.available] ** 2).sum(1).mean()
    found = take(max_det(noise=0.5), p, 4)
    chosen = g[found.indices]
    expected = np.linalg.slogdet(chosen @ chosen.T + noise * np.eye(4))[1]
    assert np.log(found.scores + noise).sum() == pytest.approx(expected, rel=1e-4)


# Farthest-first


@pytest.mark.parametrize("representation", ["gradients", "probabilities", "draws"])
def test_farthest_first_in_other_representations(representation):
    p = pool(2)
    found = take(farthest_first(representation), p)

    def of(log_probs, features):
        if representation == "gradients":
            return gradients(log_probs, features)
        if representation == "probabilities":
            return np.exp(log_probs).mean(1)
        return (log_probs - log_probs.mean(1, keepdims=True)).reshape(len(log_probs), -1) / np.sqrt(K)

    rows = of(p.log_probs, p.features)
    centres = list(of(p.labelled_log_probs, p.labelled_features))
    left = [int(row) for row in np.flatnonzero(p.available)]
    for pick, score in zip(found.indices.tolist(), found.scores, strict=True):
        nearest = {row: apart(rows[row][None], np.array(centres)).min() for row in left}
        assert nearest[pick] == pytest.approx(max(nearest.values()), rel=1e-4)
        assert score == pytest.approx(nearest[pick], rel=1e-3)
        left.remove(pick)
        centres.append(rows[pick])


def test_core_set_is_farthest_first_in_features():
    assert core_set() is farthest_first("features")


def test_kernel_kmeans_plus_plus_keeps_away_from_labelled_rows():
    """Rows that are labelled rows have distance 0, and are drawn when nothing else is left."""
    p = pool(0)
    p = Pool(p.log_probs, p.features, np.ones(30, bool), p.features[:25], p.log_probs[:25])
    for seed in range(5):
        assert set(take(kernel_kmeans_plus_plus("features"), p, 5, seed).indices.tolist()) == set(range(25, 30))


def test_unknown_names_and_arguments_are_errors():
    with pytest.raises(ValueError, match="representation='feature': expected 'features' or"):
        named("feature")
    with pytest.raises(ValueError, match="first='any'"):
        badge("any")
    with pytest.raises(ValueError, match="noise=0"):
        max_det(noise=0)
