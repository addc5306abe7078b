"""An encoder that learns from a pool without its labels, and its vectors, in two files.

python -m experiments.pretrain --data mnist --output mnist_simclr
python -m experiments.run --data 'features("mnist_simclr.npz")' --acquisition typiclust  # a small head
python -m experiments.run --data mnist --acquisition 'embedded(typiclust, "mnist_simclr.npz")'    # the vectors choose
python -m experiments.run --data mnist --posterior 'pretrained(mc_dropout, "mnist_simclr.msgpack")'   # fine-tuned
"""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from al_jax import vocabulary
from al_jax.pretraining import encoder
from experiments import runner
from experiments.runner import console


@dataclasses.dataclass(frozen=True)
class Options:
    """What to learn from, how, and where it goes."""

    output: Path
    """Without ending: OUTPUT.npz gets the vectors and labels, OUTPUT.msgpack the parameters."""
    data: str = "mnist"
    """A data set as an expression."""
    kind: Literal["simclr", "rotation"] = "simclr"
    """What is learned."""
    steps: int = 500
    """Optimiser steps."""
    minibatch_size: int = 128
    """Rows of a step."""
    learning_rate: float = 1e-3
    """Of Adam, at the start; it falls as a cosine."""
    seed: int = 0
    """Of everything random."""


def main() -> None:
    """Train the encoder, or find it, and write both files."""
    options = runner.expanded(tyro.cli(Options, prog="python -m experiments.pretrain", description=__doc__))
    dataset = vocabulary.dataset(options.data)
    made = encoder(dataset, options.kind, options.steps, options.minibatch_size, options.learning_rate, options.seed)
    vectors, parameters = (options.output.with_name(options.output.name + end) for end in (".npz", ".msgpack"))
    vectors.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"inputs": made.embed(dataset.inputs), "test_inputs": made.embed(dataset.test_inputs)}
    arrays |= {"labels": dataset.labels, "test_labels": dataset.test_labels}
    np.savez(vectors, **arrays)  # type: ignore[arg-type]  # names of arrays, not its options
    made.save(parameters)
    console.print(f"{vectors}: {len(dataset.labels)} rows of {arrays['inputs'].shape[1]} numbers", highlight=False)
    console.print(f"{parameters}: where a network starts", highlight=False)


if __name__ == "__main__":
    runner.configure_devices()
    runner.guarded(main)
