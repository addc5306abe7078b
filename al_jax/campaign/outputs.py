"""Whether a posterior predicts what a data set has: two places state the number of classes."""

from collections.abc import Mapping, Sequence

import jax

from al_jax.data import Dataset
from al_jax.engine.chunks import abstract, abstract_rows
from al_jax.sweep import Recipe, at
from al_jax.types import GaussianPredictions, Predictions


def check_outputs(recipe: Recipe, dataset: Dataset, settings: Sequence[Mapping[str, float]] = ({},)) -> None:
    """ValueError unless the posterior predicts the classes of this data set, or numbers for a regression.

    Of a sweep, that of its first setting; and ValueError when it asks for the value of a swept number, as sizes do.
    Traces a prediction and computes nothing. A posterior with predictions of its own kind is not looked at.
    """
    posterior = at(recipe, settings[0])
    row = abstract_rows(dataset.inputs, 1)
    if settings[0]:
        for values in settings:
            abstract(at(recipe, values), row, 1)
        try:
            jax.eval_shape(lambda values: abstract(at(recipe, values), row, 1), dict(settings[0]))
        except (TypeError, ValueError) as error:  # not of the number itself, which was tried before
            raise ValueError(
                f"sweep={', '.join(settings[0])}: one of them is a size, or is asked for its value while it is traced; "
                "expected numbers such as rates, decays and standard deviations"
            ) from error
    state, draws = abstract(posterior, row, 1)
    predictions, classes = jax.eval_shape(posterior.predict, state, draws, row), dataset.num_classes
    if isinstance(predictions, GaussianPredictions) and classes is not None:
        raise ValueError(f"the posterior predicts numbers: expected categorical(), as {dataset.name} has classes")
    if isinstance(predictions, Predictions):
        if classes is None:
            raise ValueError(f"the posterior predicts classes: expected gaussian(...), as {dataset.name} has none")
        if (width := predictions.log_probs.shape[-1]) != classes:
            raise ValueError(f"the network has {width} outputs: expected {classes}, the classes of {dataset.name}")
