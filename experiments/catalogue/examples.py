"""How names are called that have arguments without a default, and which cannot be drawn on two moons."""

EXAMPLES = {
    "angle_diversity": "angle_diversity(entropy)",
    "borda": "borda(entropy, bald)",
    "information_density": "information_density(entropy)",
    "mixture": "mixture(bald, random, shares=(0.8, 0.2))",
    "per_class_quota": "per_class_quota(bald)",
    "prefilter": "prefilter(entropy, 100, badge)",
    "stochastic_top_k": "stochastic_top_k(bald)",
    "subset": "subset(core_set, 100)",
    "suggestive": "suggestive(entropy, 100)",
    "sum_of": "sum_of(bald, margin)",
    "switch": "switch(60, typiclust, badge)",
    "top_k": "top_k(bald)",
    "u_herding": "u_herding(entropy)",
}
"""Of acquisitions, as they are drawn and run."""

OTHER_LABELS = frozenset(
    {"aggregate", "gaussian_bald", "gaussian_information_gain", "multi_label", "variance"}  # pixels, numbers, several
    | {"embedded"}  # reads a file
    | {"loss_prediction", "ta_vaal", "waal"}  # read what posteriors of their own learn
)
"""Scores of labels, methods on vectors, and of other posteriors, that the picture of two moons has not."""
