"""The atlas: every acquisition under several posteriors, on several data sets, with many paired seeds."""
