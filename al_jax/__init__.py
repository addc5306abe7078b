"""Bayesian deep active learning in JAX: posteriors, acquisition functions, and campaigns over many seeds."""
