"""Methods that train a model of their own, or read what a posterior trained beside its classifier."""
