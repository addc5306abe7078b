"""The active-learning loop, and what it keeps on disk."""

from al_jax.campaign.loop import (
    DEFAULT_CHUNK,
    Campaign,
    Oracle,
    Proposed,
    Settings,
    layout_of,
    load,
    programs,
    rounds,
    run,
    start_rows,
    validate,
)

__all__ = [
    "DEFAULT_CHUNK",
    "Campaign",
    "Oracle",
    "Proposed",
    "Settings",
    "layout_of",
    "load",
    "programs",
    "rounds",
    "run",
    "start_rows",
    "validate",
]
