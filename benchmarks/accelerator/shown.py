"""The machine, its peaks, and the table at the end."""

import importlib.metadata
import os
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

PEAKS = {
    "H200": {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12, "bytes": 4.8e12},
    "H100": {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12, "bytes": 3.35e12},
}
"""FLOP/s and bytes/s as the maker states them, dense, of the SXM cards."""


def version(package: str) -> str:
    """Of an installed package, or "checkout"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "checkout"


def environment() -> dict[str, Any]:
    """What the numbers depend on."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "memory_limit": stats.get("bytes_limit"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "versions": {name: version(name) for name in ("al_jax", "jax", "jaxlib", "flax", "optax", "numpy")},
    }


def peak(kind: str) -> float | None:
    """FLOP/s that the card can do, if it is known."""
    name = jax.devices()[0].device_kind
    return next((of[kind] for card, of in PEAKS.items() if card in name), None)


def table(found: dict[str, Any]) -> None:
    """Print a row for every number."""
    shown = Table(title=f"{found['environment']['device_kind']}, JAX {found['environment']['versions']['jax']}")
    for column in ("step", "what", "value"):
        shown.add_column(column)
    for name, result in found["steps"].items():
        for what, value in result.items():
            if what != "where":
                shown.add_row(name, what, f"{value:.4g}" if isinstance(value, float) else str(value))
    Console(width=120).print(shown)
