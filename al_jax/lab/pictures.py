"""Rows of a pool and learning curves as HTML, for people who label."""

import base64
import io
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from al_jax.plots import PALETTE

FEW = 16  # values that a table still shows well


def bounds(inputs: Any, rows: int = 1000) -> list[tuple[float, float]]:
    """Lowest and highest value of each array of the inputs, in its first rows: what is shown black and white."""
    first = [np.asarray(leaf[:rows]) for leaf in jax.tree.leaves(inputs)]
    return [(float(leaf.min()), float(leaf.max())) for leaf in first]


def picture(row: Any, limits: list[tuple[float, float]]) -> str:
    """One row of any inputs: an image for `[h, w]`, `[h, w, 1]` and `[h, w, 3]`, a table or a line for other values.

    `limits` are the `bounds` of the pool. Several arrays stand one below the other.
    """
    arrays = zip(jax.tree.leaves(row), limits, strict=True)
    return "".join(f"<div>{_one(np.asarray(values), *edge)}</div>" for values, edge in arrays)


def _one(values: np.ndarray, low: float, high: float) -> str:
    if values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in (1, 3)):
        return _image(values, low, high)
    if values.size > FEW:
        figure = Figure(figsize=(4, 2), dpi=100, layout="constrained")
        figure.add_subplot().plot(values.ravel(), color=PALETTE[0])
        return _inline(_png(figure), "width: 320px")
    cells = "".join(f"<td style='padding: 4px 10px; border: 1px solid #ccc'>{v:.4g}</td>" for v in values.ravel())
    return f"<table style='border-collapse: collapse'><tr>{cells}</tr></table>"


def _image(values: np.ndarray, low: float, high: float) -> str:
    """As a browser enlarges small images: smoothly, which people read better than squares."""
    shades = np.clip((values.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    shades = (255 * shades).round().astype(np.uint8)
    image, file = Image.fromarray(shades[..., 0] if shades.shape[2:] == (1,) else shades), io.BytesIO()
    image.thumbnail((400, 400))
    image.save(file, "png")
    return _inline(file.getvalue(), "width: 200px; border: 1px solid #ccc")


def curve(rounds: pd.DataFrame) -> str:
    """Accuracy against labelled rows, so far; nothing where accuracy is not measured."""
    if "accuracy" not in rounds:
        return ""
    figure = Figure(figsize=(4, 2.6), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(rounds["num_labelled"], rounds["accuracy"], color=PALETTE[0], linewidth=2, marker="o", markersize=4)
    axes.set_xlabel("labelled rows")
    axes.set_title("accuracy on the test split", loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %", decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="#e5e5e5")
    axes.spines[["top", "right"]].set_visible(False)
    return _inline(_png(figure), "width: 360px")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _inline(png: bytes, style: str) -> str:
    return f"<img style='{style}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
