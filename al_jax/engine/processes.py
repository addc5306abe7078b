"""Several processes, one a host: they meet, answer on one what all must know, and leave."""

import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from al_jax.engine.parallel import devices

HEARTBEAT_SECONDS = 20
"""Silence after which a process counts as lost."""

_farewells: list[subprocess.Popen] = []
"""The child that speaks when this process, one of several, ends without `leave`."""


def connect(coordinator: str | None, num_processes: int | None, process_id: int | None, farewell: str) -> None:
    """Join the other processes, before any other use of JAX; arguments that are None are found by JAX (TPU, Slurm).

    When a process dies, the others notice within seconds by a failing collective (`is_loss`), or else by its missing
    heartbeats, and then JAX aborts them from C++, where no Python runs: so a small child process waits for their end
    and writes `farewell` to stderr, unless they `leave`. ValueError unless all have equally many devices.
    """
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f"coordinator={coordinator}: the processes did not meet ({error})") from error
    # A session of its own, because Ctrl-C in a terminal goes to every process of one.
    watch = [sys.executable, "-S", "-c", "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])", farewell]
    _farewells.append(subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True))
    devices()
    # Gloo gives processes 30 s to connect when devices first meet, and any time later: meet before compiling.
    everywhere = NamedSharding(Mesh(np.asarray(jax.devices()), ("all",)), PartitionSpec("all"))
    ones = jax.make_array_from_callback((jax.device_count(),), everywhere, lambda index: np.ones(1, np.float32))
    jax.block_until_ready(jax.jit(jnp.sum)(ones))
    on_first(lambda: None)


def leave(code: int, *, together: bool) -> None:
    """Leave the other processes without a farewell; returns when `code` is 0, and otherwise ends this process with it.

    Those that leave `together` wait for one another, so that none sees the others as lost.
    """
    if not jax.distributed.is_initialized():
        return
    if together:
        # In a thread: it would wait for minutes for a process that did not come to the same end.
        shutdown = threading.Thread(target=jax.distributed.shutdown, daemon=True)
        shutdown.start()
        shutdown.join(None if code == 0 else HEARTBEAT_SECONDS)
    for child in _farewells:
        child.communicate(b"left")
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # not sys.exit, which would wait for the others once more


def is_loss(error: Exception) -> bool:
    """Whether this is a collective that failed because another process is gone (JAX raises several types for it)."""
    signs = r"(\w+: )?Gloo |(UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED): "
    return jax.distributed.is_initialized() and re.match(signs, str(error)) is not None


def on_first(function: Callable[[], Any]) -> Any:
    """What `function` returns or raises on process 0, on every process; all must call this. It must be picklable."""
    if jax.process_count() == 1:
        return function()
    outcome: tuple[Any, Exception | None] = (None, None)
    if jax.process_index() == 0:
        try:
            outcome = function(), None
        except Exception as error:  # raised again below, on every process
            outcome = None, error
    sent = np.frombuffer(pickle.dumps(outcome), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(sent), np.int32)))
    buffer = np.zeros(1 << (size - 1).bit_length(), np.uint8)  # a power of two: few programs are compiled for them
    if jax.process_index() == 0:
        buffer[:size] = sent
    result, raised = pickle.loads(multihost_utils.broadcast_one_to_all(buffer)[:size].tobytes())
    if raised is not None:
        raise raised
    return result
