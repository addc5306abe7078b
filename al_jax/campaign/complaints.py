"""What the numbers of a round say against it, in words: each is said once a run."""

import numpy as np

from al_jax.acquisitions.draws.batchbald import SATURATED
from al_jax.acquisitions.top_k import CONSTANT
from al_jax.campaign.records import Settings
from al_jax.types import RoundInfo

REPEATED = 0.1
"""The share of a sampler's draws that may equal the draw before."""


def complaints(info: RoundInfo, settings: Settings) -> dict[str, str]:
    """By name, what is wrong with a round on the host, `[S, ...]`: the worst seed's."""
    saturation, constant, repeated, at_edge = (
        np.max(found.get(name, 0.0), initial=0.0)
        for found, name in (
            *((info.info, "saturation"), (info.info, "constant")),
            *((info.fit, "repeated"), (info.fit, "prior_at_edge")),
        )
    )
    known = {
        "saturation": (
            saturation > SATURATED,
            f"a batch reached {saturation:.0%} of log K, all that K = {settings.num_samples} posterior samples can "
            "tell apart: its last picks are nearly arbitrary. Take more samples or smaller batches, or stop then",
        ),
        "constant": (constant > 0, CONSTANT),
        "repeated": (
            repeated > REPEATED,
            f"{repeated:.0%} of a sampler's draws equal the draw before: its chains hardly moved, and R-hat and "
            "divergences say nothing. Normalise the inputs, or take a wider prior or a longer warmup",
        ),
        "prior_at_edge": (
            at_edge > 0,
            "the best prior of Laplace's approximation lies at the edge of the precisions 1e-3 to 1e3 that are tried: "
            "the network has hardly learned, or outputs have an unusual scale. Train longer, or give a prior",
        ),
    }
    return {name: words for name, (wrong, words) in known.items() if wrong}
