"""What every network refuses when it is built."""

from typing import Any


def check_attributes(module: Any) -> None:
    """ValueError, naming the attribute, unless dropout is in [0, 1), std positive, and every width at least 1."""
    if not 0 <= module.dropout < 1:
        raise ValueError(f"dropout={module.dropout}: expected 0 or more and less than 1")
    if not 0 < module.std < float("inf"):
        raise ValueError(f"std={module.std}: expected a positive, finite number")
    widths = (*getattr(module, "hidden", ()), module.num_classes, getattr(module, "width", 1))
    if any(width < 1 for width in widths):
        name = "num_classes" if module.num_classes < 1 else "hidden" if hasattr(module, "hidden") else "width"
        raise ValueError(f"{name}={getattr(module, name)}: expected widths of at least 1")
