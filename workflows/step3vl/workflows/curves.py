"""Training curves as PNG images that are legible on light and dark pages."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed, and none is looked for
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#80868f"
"""Grey that is legible on white and on near-black."""
LINE = "#3f83f8"
LEARNING_RATE = "#e8853a"
HELDOUT = "#22a06b"
FEW_STEPS = 15
"""Steps up to which each value is marked and none are averaged."""


def running_mean(values: Sequence[float], span: int) -> np.ndarray:
    """Average the ``span`` values around each; at both ends, those of them that exist.

    Returns:
        As many values, float64.
    """
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    index = np.arange(len(values))
    first, last = np.maximum(index - span // 2, 0), np.minimum(index + span // 2 + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def loss_curve(rows: Sequence[dict[str, Any]]) -> str:
    """Plot the loss over the steps, raw and averaged, the held-out loss where measured, and the learning rate.

    Args:
        rows: The rows of ``metrics.jsonl``.

    Returns:
        A PNG as a ``data:`` URL.
    """
    steps = [row["step"] for row in rows]
    figure, axes = plt.subplots(figsize=(5.2, 2.9))
    if all("lr" in row for row in rows):
        rate_axes = axes.twinx()
        rate_axes.plot(steps, [row["lr"] for row in rows], color=LEARNING_RATE, linewidth=1, alpha=0.7)
        rate_axes.set_ylabel("learning rate", color=LEARNING_RATE)
        rate_axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        rate_axes.set_ylim(bottom=0)
        _plain(rate_axes)
    _curve(axes, steps, [row["loss"] for row in rows], "loss")
    measured = [(row["step"], row["evaluation"]["loss"]) for row in rows if "evaluation" in row]
    if measured:
        axes.plot(*zip(*measured, strict=True), "o-", color=HELDOUT, markersize=3.5, linewidth=1, label="held out")
        axes.legend(frameon=False, labelcolor=HELDOUT, fontsize=8)
    return _png(figure)


def small_multiples(rows: Sequence[dict[str, Any]], names: Sequence[tuple[str, str]]) -> str:
    """Plot several metrics of RL side by side, each in a small plot with its standard error as a band.

    A metric that is 0 throughout is left out, as the KL of strictly on-policy updates is.

    Args:
        rows: The rows of ``metrics.jsonl``.
        names: (key, title) of each metric; of ``NAME_mean``, ``NAME_se`` is the standard error.

    Returns:
        A PNG as a ``data:`` URL.
    """
    names = [(key, title) for key, title in names if any(row.get(key) for row in rows)]
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.5 * columns, 2.4 * lines), squeeze=False)
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes, (key, title) in zip(grid.flat, names, strict=False):
        present = [row for row in rows if row.get(key) is not None]
        steps, values = [row["step"] for row in present], [row[key] for row in present]
        _curve(axes, steps, values, None, "iteration")
        error = key.replace("_mean", "_se")
        if error != key and all(row.get(error) is not None for row in present):
            low, high = (np.add(values, sign * np.array([row[error] for row in present])) for sign in (-1, 1))
            axes.fill_between(steps, low, high, color=LINE, alpha=0.15, linewidth=0)
        axes.set_title(title, color=INK, fontsize=10, loc="left")
    return _png(figure)


def _curve(axes: Axes, steps: Sequence[int], values: Sequence[float], label: str | None, unit: str = "step") -> None:
    if len(values) <= FEW_STEPS:
        axes.plot(steps, values, "o-", color=LINE, linewidth=1.5, markersize=3.5)
    else:
        axes.plot(steps, values, color=LINE, linewidth=0.8, alpha=0.35)
        axes.plot(steps, running_mean(values, max(len(values) // FEW_STEPS, 3)), color=LINE, linewidth=1.8)
    axes.set_xlabel(unit, color=INK, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if label:
        axes.set_ylabel(label, color=LINE)
    axes.patch.set_visible(False)
    _plain(axes)
    axes.grid(color=INK, alpha=0.18, linewidth=0.6)


def _plain(axes: Axes) -> None:
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(colors=INK, labelsize=8, length=0)
    axes.yaxis.get_offset_text().set_color(INK)
    axes.yaxis.get_offset_text().set_fontsize(8)


def _png(figure: Figure) -> str:
    """The figure as a ``data:`` URL."""
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=170, transparent=True)
    plt.close(figure)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
