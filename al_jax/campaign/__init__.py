"""The active-learning loop, and what it keeps on disk."""

from al_jax.campaign.loop import Oracle, Proposed, rounds, run
from al_jax.campaign.model import Model
from al_jax.campaign.outcome import Campaign, Diverged, labelled, load, refuse_all_stopped
from al_jax.campaign.records import Settings
from al_jax.campaign.setup import DEFAULT_CHUNK, layout_of, programs, start_rows, validate

__all__ = [
    "DEFAULT_CHUNK",
    "Campaign",
    "Diverged",
    "Model",
    "Oracle",
    "Proposed",
    "Settings",
    "labelled",
    "layout_of",
    "load",
    "programs",
    "refuse_all_stopped",
    "rounds",
    "run",
    "start_rows",
    "validate",
]
