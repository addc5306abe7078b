"""Methods on k-means: the clustering itself, the rows nearest its centres, TypiClust and Cluster-Margin by loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from acquisitions.pools import K, N, Pool, apart, pool, probabilities, take

from al_jax.acquisitions import (
    bald,
    clue,
    cluster_margin,
    entropy,
    k_means,
    k_medoids,
    margin,
    mclu,
    mclu_ecbd,
    typiclust,
    weighted_k_means,
)
from al_jax.acquisitions.toolbox.kmeans import kmeans, nearest_to_centres


def objective(rows, weights, centres):
    return (weights * apart(rows, centres).min(1) ** 2).sum()


def lloyd(rows, weights, start):
    """In float64, until nothing changes."""
    centres = rows[start].copy()
    for _ in range(100):
        nearest = apart(rows, centres).argmin(1)
        for c in range(len(centres)):
            if weights[nearest == c].sum() > 0:
                centres[c] = np.average(rows[nearest == c], axis=0, weights=weights[nearest == c])
    return objective(rows, weights, centres)


@pytest.mark.parametrize("seed", range(4))
def test_k_means_ends_where_lloyd_s_algorithm_stands_still_and_near_the_best_restart(seed):
    rng = np.random.default_rng(seed)
    rows, weights = rng.normal(size=(60, 3)) + 5.0, rng.random(60)
    weights[:10] = 0.0
    as_float32 = [jnp.asarray(array, jnp.float32) for array in (rows, weights)]
    found = kmeans(jax.random.key(seed), *as_float32, 6, iterations=100)
    assert found.used.all()
    centres = np.asarray(found.centres, float)
    nearest = apart(rows, centres).argmin(1)
    np.testing.assert_array_equal(found.assigned, nearest)
    np.testing.assert_allclose(found.squared, apart(rows, centres).min(1) ** 2, rtol=1e-3, atol=1e-4)
    for c in range(6):
        mean = np.average(rows[nearest == c], axis=0, weights=weights[nearest == c])
        np.testing.assert_allclose(centres[c], mean, atol=1e-4, err_msg="a centre is its rows' weighted mean")
    restarts = [lloyd(rows, weights, rng.choice(np.arange(10, 60), 6, replace=False)) for _ in range(20)]
    assert objective(rows, weights, centres) <= np.quantile(restarts, 0.8)


def test_rows_of_weight_0_and_unused_clusters_have_no_influence():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), np.full((20, 2), 1e3)])
    weights = np.repeat([1.0, 0.0], 20)
    found = kmeans(jax.random.key(0), jnp.asarray(rows, jnp.float32), jnp.asarray(weights, jnp.float32), 8, 3)
    assert int(found.used.sum()) == 3
    assert np.abs(np.asarray(found.centres)[np.asarray(found.used)]).max() < 10
    assert np.isin(found.assigned, np.flatnonzero(found.used)).all()


def test_fewer_different_rows_than_clusters():
    rows = jnp.asarray(np.repeat(np.eye(3), 4, axis=0), jnp.float32)
    found = kmeans(jax.random.key(0), rows, jnp.ones(12), 6)
    assert 3 <= int(found.used.sum()) <= 6
    np.testing.assert_allclose(found.squared, 0, atol=1e-6)
    picked = nearest_to_centres(rows, found, jnp.ones(12, bool), 6)
    assert len(set(picked.positions.tolist())) == 6
    assert {int(i) // 4 for i in picked.positions} == {0, 1, 2}


def blobs(seed, groups=5, each=12):
    """Well separated groups, so that every good clustering is the same; a pool of them."""
    rng = np.random.default_rng(seed)
    centres = 50 * np.stack([np.cos(np.arange(groups)), np.sin(2 * np.arange(groups)), np.arange(groups)], 1)
    group = np.arange(groups * each) % groups
    features = centres[group] + rng.normal(size=(groups * each, 3))
    log_probs = np.log(rng.dirichlet(np.ones(3), (groups * each, 4)))
    none = np.zeros((0, 3)), np.zeros((0, 4, 3))
    return group, Pool(log_probs, features, np.ones(groups * each, bool), *none)


@pytest.mark.parametrize("seed", range(3))
def test_k_means_takes_the_row_nearest_each_group_s_mean(seed):
    group, p = blobs(seed)
    found = take(k_means(), p, 5, seed)
    expected = set()
    for g in range(5):
        rows = np.flatnonzero(group == g)
        expected.add(int(rows[apart(p.features[rows], p.features[rows].mean(0)[None])[:, 0].argmin()]))
    assert set(found.indices.tolist()) == expected


@pytest.mark.parametrize(("acquisition", "score"), [(weighted_k_means(entropy, 12), entropy), (clue(), entropy)])
def test_weighted_centres_lie_where_the_uncertain_rows_are(acquisition, score):
    group, p = blobs(1)
    found = take(acquisition, p, 5)
    weights = np.asarray(score(jnp.asarray(p.log_probs, jnp.float32)), float)
    for g in range(5):
        rows = np.flatnonzero(group == g)
        centre = np.average(p.features[rows], axis=0, weights=weights[rows])
        assert int(rows[apart(p.features[rows], centre[None])[:, 0].argmin()]) in found.indices


def test_weighted_k_means_looks_at_the_most_uncertain_rows_alone():
    _, p = blobs(2)
    for acquisition, scores in (
        (weighted_k_means(factor=2), 1 - np.diff(np.sort(probabilities(p.log_probs), 1)[:, -2:])[:, 0]),
        (weighted_k_means(bald, 2), np.asarray(bald(jnp.asarray(p.log_probs, jnp.float32)))),
    ):
        found = take(acquisition, p, 5)
        assert set(found.indices.tolist()) <= set(np.argsort(-scores)[:10].tolist())


def test_clue_s_temperature_flattens_or_sharpens():
    """At a high temperature all rows weigh the same, as in k-means; certain rows weigh nothing at a low one."""
    group, p = blobs(3)
    found, plain = take(clue(1e6), p, 5), take(k_means(), p, 5)
    assert {group[i] for i in found.indices} == set(range(5))
    assert set(found.indices.tolist()) == set(plain.indices.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_cluster_margin_goes_round_the_clusters_from_the_smallest(seed):
    """The clusters are known: groups. Turns by a loop."""
    group, p = blobs(seed)
    p = p._replace(available=np.random.default_rng(seed).random(60) < 0.7)
    found = take(cluster_margin(5, 3), p, 6, seed)
    gap = np.diff(np.sort(probabilities(p.log_probs), 1)[:, -2:])[:, 0]
    candidates = [int(i) for i in np.argsort(np.where(p.available, gap, np.inf))[:18]]
    queues = {g: [i for i in candidates if group[i] == g] for g in range(5)}
    turns, sizes = [], {g: len(q) for g, q in queues.items()}
    while any(queues.values()):
        turns.append([(sizes[g], q.pop(0)) for g, q in queues.items() if q])
    expected = [(number, size) for number, turn in enumerate(turns) for size, _ in sorted(turn)][:6]
    where = {row: number for number, turn in enumerate(turns) for _, row in turn}
    assert [(where[int(i)], sizes[group[i]]) for i in found.indices] == expected
    np.testing.assert_allclose(found.scores, -gap[found.indices], atol=1e-5)


def typical(features, rows, neighbours):
    """Typicality of each of the rows among them, by a double loop."""
    count = max(1, min(neighbours, len(rows) // 2))
    found = {}
    for row in rows:
        others = sorted(np.sqrt(((features[row] - features[o]) ** 2).sum()) for o in rows if o != row)
        found[int(row)] = 1 / (np.mean(others[:count]) + 1e-5)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("known", [[], [0, 2]])
def test_typiclust_takes_typical_rows_of_the_largest_clusters_without_labels(seed, known):
    """As many clusters as groups: those of the labelled rows have a label, the largest others come first."""
    group, p = blobs(seed, groups=6)
    available = np.random.default_rng(seed).random(len(group)) < 0.9
    labelled = [int(np.flatnonzero(group == g)[0]) for g in known]
    available[labelled] = False
    p = p._replace(
        available=available, labelled_features=p.features[labelled], labelled_log_probs=p.log_probs[labelled]
    )
    batch = 6 - len(known)
    found = take(typiclust(neighbours=4), p, batch, seed)
    free = [int(g) for g in range(6) if g not in known]
    sizes = {g: int((available & (group == g)).sum()) for g in free}
    assert sorted(group[i] for i in found.indices) == free
    assert [sizes[group[i]] for i in found.indices] == sorted(sizes.values(), reverse=True)
    for row, score in zip(found.indices.tolist(), found.scores, strict=True):
        scores = typical(p.features, np.flatnonzero(available & (group == group[row])), 4)
        assert scores[row] == pytest.approx(max(scores.values()), rel=1e-3)
        assert score == pytest.approx(scores[row], rel=1e-3)


def test_typiclust_goes_on_in_clusters_with_labels_and_leaves_small_ones_to_the_last():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(20, 3)), rng.normal(size=(20, 3)) + 100, rng.normal(size=(3, 3)) - 100])
    log_probs = np.full((43, 1, 2), np.log(0.5))
    p = Pool(log_probs, features, np.ones(43, bool), np.zeros((0, 3)), np.zeros((0, 1, 2)))
    group = np.repeat([0, 1, 2], [20, 20, 3])
    chosen = [group[i] for i in take(typiclust(max_clusters=3), p, 6).indices]
    assert sorted(chosen[:2]) == [0, 1]
    assert 2 not in chosen[:4], "fewer than 6 rows"


def test_equal_rows_are_distinct_picks():
    p = pool(0)
    p = p._replace(features=np.ones_like(p.features), available=np.ones(N, bool))
    for acquisition in (k_means(), weighted_k_means(), clue(), typiclust(), cluster_margin(3)):
        assert len(set(take(acquisition, p, 10).indices.tolist())) == 10


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: k_means("gradients"), "representation='gradients'"),
        (lambda: weighted_k_means(factor=0), "factor=0"),
        (lambda: clue(0.0), "temperature=0.0"),
        (lambda: typiclust(neighbours=0), "neighbours=0"),
        (lambda: typiclust(max_clusters=0), "max_clusters=0"),
        (lambda: cluster_margin(0), "clusters=0"),
    ],
)
def test_arguments_out_of_range_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def medoid_cost(rows, chosen):
    return (apart(rows, rows[chosen]).min(1) ** 2).sum()


@pytest.mark.parametrize("seed", range(4))
def test_k_medoids_are_the_members_nearest_to_their_cluster_s_mean_and_near_the_best_restart(seed):
    p = pool(seed)
    offered = np.flatnonzero(p.available)
    found = take(k_medoids(), p, 5, seed).indices
    assert set(found.tolist()) <= set(offered.tolist())
    rows = p.features[offered]
    owner = apart(rows, p.features[found]).argmin(1)
    for c, medoid in enumerate(found):
        members = rows[owner == c]
        to_mean = np.linalg.norm(members - members.mean(0), axis=1)
        assert np.linalg.norm(p.features[medoid] - members.mean(0)) <= to_mean.min() + 1e-5
        costs = (apart(members, members) ** 2).sum(1)  # by definition: the member with the smallest sum
        assert medoid_cost(members, [costs.argmin()]) == pytest.approx(medoid_cost(members, [to_mean.argmin()]))
    rng = np.random.default_rng(seed)
    random = [medoid_cost(rows, rng.choice(len(rows), 5, replace=False)) for _ in range(200)]
    assert medoid_cost(p.features[offered], np.searchsorted(offered, found)) <= np.quantile(random, 0.05)


def test_k_medoids_takes_a_row_of_every_group():
    group, p = blobs(0)
    assert set(group[take(k_medoids(), p, 5).indices].tolist()) == set(range(5))


def mean_logit_gap(log_probs):
    logits = np.sort(log_probs.mean(1), axis=-1)
    return logits[:, -2] - logits[:, -1]


def test_mclu_is_minus_the_gap_of_mean_logits_and_of_two_classes_orders_as_margin():
    logits = np.random.default_rng(0).normal(size=(20, K, 5))
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    found = mclu(jnp.asarray(log_probs, jnp.float32))
    np.testing.assert_allclose(found, mean_logit_gap(logits), atol=1e-5)
    two = jnp.asarray(jax.nn.log_softmax(logits[:, :1, :2]), jnp.float32)
    np.testing.assert_array_equal(jnp.argsort(mclu(two)), jnp.argsort(margin(two)))


@pytest.mark.parametrize("seed", range(3))
def test_mclu_ecbd_takes_the_most_uncertain_row_of_every_group(seed):
    group, p = blobs(seed)
    scores = mean_logit_gap(p.log_probs)
    found = take(mclu_ecbd(factor=12), p, 5, seed)
    expected = [max(np.flatnonzero(group == g), key=lambda row: scores[row]) for g in range(5)]
    assert set(found.indices.tolist()) == set(expected)
    np.testing.assert_allclose(found.scores, np.sort(scores[expected])[::-1], rtol=1e-4)
    few = take(mclu_ecbd(factor=1), p, 5, seed)
    assert set(few.indices.tolist()) == set(np.argsort(-scores)[:5].tolist()), "no more rows than asked for"
