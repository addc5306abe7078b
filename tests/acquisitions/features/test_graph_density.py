"""Graph density, robust core-set and SIMILAR against loops in float64."""

import itertools

import numpy as np
import pytest
from acquisitions.pools import B, C, N, apart, pool, take

from al_jax.acquisitions import acquire, core_set, graph_density, mutual_information, robust_core_set


def graph(rows, k):
    """Edges and weights of the graph of k nearest neighbours, by sorting."""
    squared = apart(rows, rows) ** 2
    near = [[j for j in np.argsort(squared[i], kind="stable") if j != i][:k] for i in range(len(rows))]
    directed = np.zeros((len(rows), len(rows)), bool)
    for i, of in enumerate(near):
        directed[i, of] = True
    scale = squared[directed].mean()
    edge = directed | directed.T
    return edge, np.where(edge, np.exp(-squared / (2 * scale)), 0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("labelled", [0, 6])
def test_graph_density_takes_the_densest_row_and_its_density_from_its_neighbours(seed, labelled):
    p = pool(seed, labelled)
    p = p._replace(features=p.features + 1e-3 * np.random.default_rng(seed).normal(size=p.features.shape))  # no ties
    offered = np.flatnonzero(p.available)
    rows = np.concatenate([p.features[offered], p.labelled_features])
    edge, weight = graph(rows, 4)
    density = weight.sum(1) / edge.sum(1)
    for known in range(len(offered), len(rows)):
        density = np.where(edge[known], density - density[known], density)
    expected, scores = [], []
    left = np.ones(len(offered), bool)
    for _ in range(B):
        best = int(np.argmax(np.where(left, density[: len(offered)], -np.inf)))
        expected.append(offered[best])
        scores.append(density[best])
        left[best] = False
        density = np.where(edge[best], density - density[best], density)
    found = take(graph_density(4), p)
    assert found.indices.tolist() == expected
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)


def smallest_radius(p, share, batch_size):
    """The smallest radius at which some batch leaves no more than that share uncovered: all batches are tried."""
    offered = p.features[p.available]
    to_known, between = apart(offered, p.labelled_features).min(1, initial=np.inf), apart(offered, offered)
    allowed = int(share * len(offered) + 1e-9)

    def radius(batch):
        nearest = np.minimum(to_known, between[:, batch].min(1))
        return np.sort(nearest)[len(nearest) - allowed - 1]

    return min(radius(list(batch)) for batch in itertools.combinations(range(len(offered)), batch_size))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.0, 0.15])
@pytest.mark.parametrize("labelled", [0, 2])
def test_robust_core_set_covers_all_but_the_outliers_within_three_of_the_smallest_radii(seed, share, labelled):
    p = pool(seed, labelled, rows=18)
    found = take(robust_core_set(share), p, batch_size=3)
    assert len(set(found.indices.tolist())) == 3
    assert p.available[found.indices].all()
    centres = np.concatenate([p.labelled_features, p.features[found.indices]])
    distances = apart(p.features[p.available], centres).min(1)
    bound = 3 * smallest_radius(p, share, 3) + 3 * distances.max() / 2**9  # Charikar et al. 2001, and the bisection
    assert np.mean(distances > bound) <= share


def test_a_far_outlier_is_picked_by_core_set_and_not_by_the_robust_one():
    p = pool(0, 0)
    features = np.random.default_rng(0).normal(size=p.features.shape) + np.repeat([[0.0], [40.0]], N // 2, axis=0)
    features[3] = 1000.0
    p = p._replace(features=features, available=np.ones(N, bool))
    assert 3 in take(core_set(), p, batch_size=3).indices
    groups = [row // (N // 2) for row in take(robust_core_set(0.1), p, batch_size=2).indices.tolist() if row != 3]
    assert sorted(groups) == [0, 1]


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return a @ b.T


def greedy(value, offered):
    """The picks of largest gain of a set function, and the gains; by evaluating it for every candidate."""
    picks, before, gains = [], value([]), []
    for _ in range(B):
        found = {row: value([*picks, row]) - before for row in offered if row not in picks}
        best = max(found, key=found.get)
        picks.append(best)
        gains.append(found[best])
        before += found[best]
    return picks, gains


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trade_off", [0.0, 0.7])
def test_flqmi_looks_for_rows_like_those_of_the_classes(seed, trade_off):
    p = pool(seed)
    p = p._replace(features=p.features - 2.0)
    labels = np.arange(6) % C
    similar = cosines(p.features, p.labelled_features[labels > 0])

    def value(batch):
        covered = np.max(similar[batch], axis=0, initial=-1.0)
        return covered.sum() + trade_off * similar[batch].max(1).sum()

    picks, gains = greedy(value, np.flatnonzero(p.available))
    acquisition = mutual_information("flqmi", (1, 2), "features", trade_off)
    found = take(acquisition, p, labelled_labels=labels)
    np.testing.assert_allclose(found.scores, gains, atol=1e-4)
    assert found.indices.tolist() == picks or np.isclose(gains, 0, atol=1e-5).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [0, 6])
def test_flcg_represents_what_labelled_rows_do_not(seed, labelled):
    p = pool(seed, labelled)
    p = p._replace(features=p.features - 2.0, labelled_features=p.labelled_features - 2.0)
    offered = np.flatnonzero(p.available)
    own = cosines(p.features[offered], p.features)
    known = 0.5 * cosines(p.features[offered], p.labelled_features).max(1) if labelled else np.zeros(len(offered))

    def value(batch):
        best = own[:, batch].max(1) if batch else np.full(len(offered), -np.inf)
        return np.maximum(best - known, 0.0).sum()

    _, gains = greedy(value, offered)
    found = take(mutual_information("flcg", representation="features", trade_off=0.5), p)
    np.testing.assert_allclose(found.scores, gains, atol=1e-3)
    np.testing.assert_allclose([value(found.indices[:n].tolist()) for n in (1, B)], [gains[0], sum(gains)], rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_logdetcmi_is_the_information_about_queries_that_others_have_not(seed):
    p = pool(seed)
    p = p._replace(features=p.features - 2.0, labelled_features=p.labelled_features - 2.0)
    labels, offered = np.array([0, 1, 2, 1, 0, 2]), np.flatnonzero(p.available)
    everything = np.concatenate([p.features[offered], p.labelled_features])
    kernel = cosines(everything, everything) + np.eye(len(everything))
    queries, others = (len(offered) + np.flatnonzero(labels == 1), len(offered) + np.flatnonzero(labels != 1))

    def entropy(rows):
        return np.linalg.slogdet(kernel[np.ix_(rows, rows)])[1] if len(rows) else 0.0

    def value(batch):
        a = list(batch)
        given_p = entropy([*a, *others]) - entropy([*others])
        return given_p - (entropy([*a, *others, *queries]) - entropy([*others, *queries]))

    _, gains = greedy(value, range(len(offered)))
    method = mutual_information("logdetcmi", (1,), "features")
    found = take(method, p, labelled_labels=labels)
    np.testing.assert_allclose(found.scores, gains, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mutual_information("gcmi"), r"kind='gcmi': expected 'flqmi' or 'flcg' or 'logdetcmi'"),
        (lambda: mutual_information("logdetcmi", (1,), trade_off=2.0), r"trade_off=2\.0: kind='logdetcmi' has none"),
        (lambda: mutual_information("flqmi"), r"classes=\(\): expected the classes whose labelled rows"),
        (lambda: mutual_information(trade_off=-1), "trade_off=-1: expected a finite number"),
        (lambda: graph_density(0), "neighbours=0: expected at least 1"),
        (lambda: robust_core_set(1.0), r"outliers=1\.0: expected a share"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_labels_of_labelled_rows_are_asked_for_by_name():
    p = pool(0)
    acquisition = mutual_information("flqmi", (1,), "features")
    with pytest.raises(ValueError, match=r"reads the labels of labelled rows: give acquire\(\) labelled_labels"):
        take(acquisition, p)
    with pytest.raises(ValueError, match="labelled_labels has 5 rows: expected 6, as labelled_features has"):
        take(acquisition, p, labelled_labels=np.zeros(5, int))
    with pytest.raises(ValueError, match=r"labelled_labels is float64\[6\]: expected integers \[L\]"):
        acquire(acquisition, p.log_probs, B, labelled_features=p.labelled_features, labelled_labels=np.zeros(6))
    assert len(p.log_probs) == N
