"""MaxHerding, uncertainty herding, ProbCover and suggestive annotation against a greedy search that looks at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import B, N, apart, pool, probabilities, take

from al_jax.acquisitions import entropy, max_herding, prob_cover, suggestive, u_herding
from al_jax.acquisitions.features.max_herding import median_squared_distance
from al_jax.acquisitions.features.prob_cover import pure_radius
from al_jax.acquisitions.toolbox import facility_location as selector


def greedy(kernel, weights, cover, candidates, batch_size):
    """Every gain of every candidate, by loops in float64: (gains of all candidates before each pick)."""
    cover, left = np.array(cover, float), list(candidates)

    def gain(row):
        return sum(weights[u] * max(0.0, kernel[u, row] - cover[u]) for u in range(len(kernel)))

    def follow(picks):
        nonlocal cover
        for pick in picks[:batch_size]:
            yield {row: gain(row) for row in left}, pick
            cover = np.maximum(cover, kernel[:, pick])
            left.remove(pick)

    return follow


def check(found, follow):
    """Each pick has the largest gain there is, up to rounding, and tells it."""
    for position, (gains, pick) in enumerate(follow(found.indices.tolist())):
        assert pick in gains
        assert gains[pick] == pytest.approx(max(gains.values()), rel=1e-4, abs=1e-4)
        assert found.scores[position] == pytest.approx(gains[pick], rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("labelled", [0, 6])
def test_max_herding_is_the_greedy_maximum(seed, labelled):
    p = pool(seed, labelled)
    kernel = np.exp(-(apart(p.features, p.features) ** 2) / 1.5**2)
    cover = np.exp(-(apart(p.features, p.labelled_features) ** 2) / 1.5**2).max(1, initial=0.0)
    found = take(max_herding(1.5), p)
    check(found, greedy(kernel, np.ones(N), cover, np.flatnonzero(p.available), B))


@pytest.mark.parametrize("seed", range(4))
def test_u_herding_weighs_rows_by_their_score(seed):
    p = pool(seed)
    kernel = np.exp(-(apart(p.features, p.features) ** 2) / 1.5**2)
    cover = np.exp(-(apart(p.features, p.labelled_features) ** 2) / 1.5**2).max(1)
    mean = probabilities(p.log_probs)
    found = take(u_herding(entropy, 1.5), p)
    check(found, greedy(kernel, -(mean * np.log(mean)).sum(1), cover, np.flatnonzero(p.available), B))


def test_scores_of_0_everywhere_weigh_all_rows_the_same():
    p = pool(0)
    certain = np.full_like(p.log_probs, -np.inf)
    certain[..., 0] = 0.0
    found, expected = take(u_herding(entropy, 1.5), p, log_probs=certain), take(max_herding(1.5), p)
    np.testing.assert_array_equal(found.indices, expected.indices)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_prob_cover_covers_most_rows(seed, radius):
    p = pool(seed)
    ball = (apart(p.features, p.features) < radius).astype(float)
    cover = (apart(p.features, p.labelled_features) < radius).max(1).astype(float)
    check(take(prob_cover(radius), p), greedy(ball, np.ones(N), cover, np.flatnonzero(p.available), B))


def test_once_all_rows_are_covered_prob_cover_goes_on_at_random():
    batches = {tuple(take(prob_cover(1e6), pool(0), seed=seed).indices.tolist()) for seed in range(5)}
    assert len(batches) == 5


def test_the_radius_of_prob_cover_is_the_largest_with_enough_pure_balls():
    """Two far groups: the balls of all rows are pure up to the gap between them, whatever k-means does within."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(0, 1, (40, 2)), rng.uniform(0, 1, (40, 2)) + np.array([10, 0])])
    squared = pure_radius(jax.random.key(0), (jnp.asarray(rows, jnp.float32),), 2, 0.95)
    to_other = np.concatenate([apart(rows[:40], rows[40:]).min(1), apart(rows[40:], rows[:40]).min(1)])
    assert float(squared) == pytest.approx(np.quantile(to_other**2, 0.05), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_suggestive_annotation_represents_all_rows_by_uncertain_ones(seed):
    p = pool(seed)
    unit = p.features / np.linalg.norm(p.features, axis=1, keepdims=True)
    mean = probabilities(p.log_probs)
    scores = np.where(p.available, -(mean * np.log(mean)).sum(1), -np.inf)
    candidates = np.argsort(-scores)[:12]
    check(take(suggestive(entropy, 12), p, 4), greedy(unit @ unit.T, np.ones(N), -np.ones(N), candidates, 4))


def test_a_shortlist_shorter_than_the_batch_is_an_error():
    with pytest.raises(ValueError, match="m=3: expected at least batch_size=4"):
        take(suggestive(entropy, 3), pool(0), 4)


def test_the_bandwidth_is_the_median_distance_by_default():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    distances = apart(rows, rows)[np.triu_indices(20, 1)]
    found = median_squared_distance((jnp.asarray(rows, jnp.float32),))
    assert float(found) == pytest.approx(np.median(distances**2), rel=1e-5)
    assert float(median_squared_distance((jnp.ones((5, 3)),))) == 1.0


@pytest.mark.parametrize("rows", [1, 2, 300])
def test_lazy_search_in_blocks_is_the_full_search(rows, monkeypatch):
    """Blocks that do not divide the rows; all gains are looked at again by hand."""
    monkeypatch.setattr(selector, "CANDIDATES", 7)
    monkeypatch.setattr(selector, "COVERED", 11)
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 2))
    batch = min(20, rows)
    found = jax.jit(
        lambda x: selector.facility_location(
            (x,), jnp.ones(rows), jnp.zeros(rows), lambda d: jnp.exp(-d), jnp.ones(rows, bool), batch
        )
    )(jnp.asarray(x, jnp.float32))
    kernel = np.exp(-(apart(x, x) ** 2))
    told = type("Found", (), {"indices": np.asarray(found.positions), "scores": np.asarray(found.values)})
    check(told, greedy(kernel, np.ones(rows), np.zeros(rows), range(rows), batch))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: max_herding(0.0), "bandwidth=0.0"),
        (lambda: u_herding(entropy, -1.0), "bandwidth=-1.0"),
        (lambda: prob_cover(-1.0), "radius=-1.0"),
        (lambda: prob_cover(purity=1.0), "purity=1.0"),
        (lambda: suggestive(entropy, 0), "m=0"),
    ],
)
def test_arguments_out_of_range_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()
