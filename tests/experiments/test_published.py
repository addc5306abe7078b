"""The authors' runs as transcribed, against the recipe tables of the papers and against themselves."""

from experiments.published.runs import NEVER
from experiments.reproduction.papers import GAL, KIRSCH, PAPERS


def test_every_arm_is_in_one_table():
    for paper in PAPERS:
        assert sorted(arm for part in paper.parts for arm in part.arms) == sorted(paper.arms)
        assert paper.published.keys() <= paper.arms.keys()


def test_the_published_runs_are_those_of_the_recipe_tables():
    # Rows of the recipe tables, by hand: sorted labels of the runs, counted in total.
    for paper, arm, at_90, at_95 in (
        (GAL, "bald", [230, 250, 270], [360, 360, 380]),
        (GAL, "variation_ratio", [160, 180, 190], [300, 330, 350]),
        (GAL, "mean_std_2017", [240, 250, 300], [630, 690, 690]),
        (GAL, "random", [300, 320, 340], [740, 880, 940]),
        (KIRSCH, "batchbald_b10", [80, 80, 100, 110, 120, 120], [180, 200, 210, 240, 240, 260]),
        (KIRSCH, "bald_b1", [78, 86, 97, 101, 102, 105], [173, 198, 207, 226, 227, 244]),
        (KIRSCH, "bald_b10", [130, 130, 130, 180, 180, 200], [250, 260, 260, NEVER, NEVER, NEVER]),
    ):
        published = paper.published[arm]
        assert sorted(published.labels_to(0.9)) == at_90, arm
        assert sorted(published.labels_to(0.95)) == at_95, arm
    for paper in PAPERS:
        for arm, published in paper.published.items():
            for run in published.runs:
                assert len(run.accuracy) == len(published.counts), arm
                assert len(run.labels) == len(published.thresholds), arm
                # A run is at an accuracy when it has first met it, and not before.
                for threshold, labels in zip(published.thresholds, run.labels, strict=True):
                    before = [a for n, a in zip(published.counts, run.accuracy, strict=True) if n < labels]
                    assert max(before, default=0.0) < threshold, arm
                    if labels in published.counts:
                        assert run.accuracy[published.counts.index(int(labels))] >= threshold, arm
