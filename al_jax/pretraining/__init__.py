"""Encoders that learn from rows without labels, and what they are good for: vectors, and where networks start."""

from al_jax.pretraining.encoder import Encoder, encoder
from al_jax.pretraining.rotation import rotation
from al_jax.pretraining.simclr import simclr

__all__ = ["Encoder", "encoder", "rotation", "simclr"]
