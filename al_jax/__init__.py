"""Bayesian deep active learning in JAX: posteriors, acquisition functions, and campaigns over many seeds."""

from importlib import metadata

try:
    __version__ = metadata.version("al_jax")
except metadata.PackageNotFoundError:  # a checkout that was not installed
    __version__ = "0+checkout"
