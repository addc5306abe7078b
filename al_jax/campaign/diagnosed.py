"""What the numbers of a round say against it, in words: each is said once a run."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from al_jax.acquisitions.draws.batchbald import SATURATED
from al_jax.campaign.records import Settings
from al_jax.types import RoundInfo

REPEATED = 0.1
"""The share of a sampler's draws that may equal the draw before."""


class Complaint(NamedTuple):
    """What is wrong, and how it is said."""

    name: str
    words: str


def complaints(info: RoundInfo, settings: Settings) -> Iterator[Complaint]:
    """What is wrong with a round on the host, `[S, ...]`."""
    saturation = np.max(info.info.get("saturation", 0.0), initial=0.0)
    if saturation > SATURATED:
        yield Complaint(
            "saturation",
            f"a batch reached {saturation:.0%} of log K, all that K = {settings.num_samples} posterior samples can "
            "tell apart: its last picks are nearly arbitrary. Take more samples or smaller batches, or stop then",
        )
    repeated = np.max(info.fit.get("repeated", 0.0), initial=0.0)
    if repeated > REPEATED:
        yield Complaint(
            "repeated",
            f"{repeated:.0%} of a sampler's draws equal the draw before: its chains hardly moved, and R-hat and "
            "divergences say nothing. Normalise the inputs, or take a wider prior or a longer warmup",
        )
    if np.any(info.fit.get("prior_at_edge", False)):
        yield Complaint(
            "prior_at_edge",
            "the best prior of Laplace's approximation lies at the edge of the precisions 1e-3 to 1e3 that are tried: "
            "the network has hardly learned, or outputs have an unusual scale. Train longer, or give a prior",
        )
