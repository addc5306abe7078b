"""Methods on fixed vectors: the same picks as on a network whose features are these vectors."""

import jax
import numpy as np
import pytest
from conftest import tiny

from al_jax import acquisitions as aq
from al_jax import campaign
from al_jax.campaign import Settings
from al_jax.campaign.identity import described
from al_jax.testing import check_acquisition

VECTORS = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
SETTINGS = Settings(seeds=2, initial_labels=6, batch_size=4, max_labels=14, num_samples=3, seed_block=2)


@pytest.mark.parametrize("method", ["typiclust", "core_set", "prob_cover"])
def test_it_obeys_the_laws(method):
    check_acquisition(aq.embedded(getattr(aq, method)(), VECTORS[:24]))


@pytest.mark.parametrize("method", [aq.core_set, aq.typiclust, aq.badge])
def test_it_picks_what_a_network_with_these_features_would(dataset, method):
    found = campaign.run(tiny("mc_dropout"), aq.embedded(method(), VECTORS), dataset, SETTINGS)
    base = tiny("mc_dropout")
    where = {row.tobytes(): place for place, row in enumerate(dataset.inputs)}

    def predict(state, draws, x):
        def of(rows):
            return np.stack([VECTORS[where.get(np.asarray(row).tobytes(), 0)] for row in rows])

        features = jax.pure_callback(of, jax.ShapeDtypeStruct((len(x), 4), np.float32), x, vmap_method="sequential")
        return base.predict(state, draws, x)._replace(features=features)

    same = campaign.run(base._replace(predict=predict, head=None), method(), dataset, SETTINGS)
    assert found.acquired["row"].tolist() == same.acquired["row"].tolist()
    plain = campaign.run(base, method(), dataset, SETTINGS)
    assert found.acquired["row"].tolist() != plain.acquired["row"].tolist()


def test_it_reads_the_vectors_of_a_file(dataset, tmp_path):
    np.savez(tmp_path / "vectors.npz", inputs=VECTORS, labels=dataset.labels)
    text = str(tmp_path / "vectors.npz")
    one, other = (
        campaign.run(tiny("point"), aq.embedded(aq.core_set(), given), dataset, SETTINGS).acquired["row"].tolist()
        for given in (VECTORS, text)
    )
    assert one == other


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (VECTORS[:7], "vectors has 7 rows: expected 48, those of the pool"),
        (VECTORS[:, 0], r"vectors=float32\[48\]: expected finite numbers \[N, D\]"),
        (VECTORS * np.nan, r"vectors=float32\[48, 4\]: expected finite numbers"),
        ("nowhere.npz", r"vectors=nowhere\.npz is not a file"),
    ],
)
def test_wrong_vectors_are_named(dataset, given, words):
    with pytest.raises(ValueError, match=words):
        campaign.run(tiny("point"), aq.embedded(aq.core_set(), given), dataset, SETTINGS)


def test_a_file_without_them_and_a_pool_on_the_host_are_refused(dataset, tmp_path):
    np.savez(tmp_path / "empty.npz", labels=dataset.labels)
    with pytest.raises(ValueError, match="has labels and no inputs"):
        aq.embedded(aq.core_set(), str(tmp_path / "empty.npz"))
    host = Settings(**{**vars(SETTINGS), "pool_on": "host"})
    with pytest.raises(ValueError, match=r"acquisition\.init .* reads the whole pool"):
        campaign.run(tiny("point"), aq.embedded(aq.core_set(), VECTORS), dataset, host)


def test_samples_stay_the_network_s_and_other_vectors_are_another_campaign(dataset):
    bald = aq.top_k(aq.bald)
    one, other = (
        campaign.run(tiny("mc_dropout"), method, dataset, SETTINGS).acquired["row"].tolist()
        for method in (aq.embedded(bald, VECTORS), bald)
    )
    assert one == other
    texts = {described(aq.embedded(bald, vectors)) for vectors in (VECTORS, VECTORS.copy(), VECTORS + 1)}
    assert len(texts) == 2
