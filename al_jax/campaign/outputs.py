"""Whether a posterior predicts what a data set has: two places state the number of classes."""

import jax

from al_jax.data import Dataset
from al_jax.engine.chunks import abstract, abstract_rows
from al_jax.types import GaussianPredictions, Posterior, Predictions


def check_outputs(posterior: Posterior, dataset: Dataset) -> None:
    """ValueError unless the posterior predicts the classes of this data set, or numbers for a regression.

    Traces a prediction and computes nothing. A posterior with predictions of its own kind is not looked at.
    """
    row = abstract_rows(dataset.inputs, 1)
    state, draws = abstract(posterior, row, 1)
    predictions, classes = jax.eval_shape(posterior.predict, state, draws, row), dataset.num_classes
    if isinstance(predictions, GaussianPredictions) and classes is not None:
        raise ValueError(f"the posterior predicts numbers: expected categorical(), as {dataset.name} has classes")
    if isinstance(predictions, Predictions):
        if classes is None:
            raise ValueError(f"the posterior predicts classes: expected gaussian(...), as {dataset.name} has none")
        if (width := predictions.log_probs.shape[-1]) != classes:
            raise ValueError(f"the network has {width} outputs: expected {classes}, the classes of {dataset.name}")
