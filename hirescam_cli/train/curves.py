"""A picture of a training: losses and AUROC over epochs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from hirescam_cli.durable import write_file
from hirescam_cli.train.records import EpochFigures

CURVES = "curves.png"


def write_curves(run: Path, history: Sequence[EpochFigures], best_epoch: int | None) -> None:
    """Write curves.png. Raises OutputCreateError or OutputIOError."""
    # Loading it takes a second, which only the end of an epoch need wait for.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [figures.epoch for figures in history]
    picture = Figure(figsize=(9.0, 3.6), dpi=110, layout="constrained")
    left, right = picture.subplots(1, 2)
    for split, colour in (("train", "#1f77b4"), ("valid", "#d62728")):
        losses = [getattr(figures, split) for figures in history]
        left.plot(
            epochs, [loss.classification for loss in losses], color=colour, label=f"{split}, classification"
        )
        if any(loss.mask for loss in losses):
            left.plot(
                epochs, [loss.mask for loss in losses], color=colour, linestyle=":", label=f"{split}, masks"
            )
    left.set_ylabel("loss")
    known = [(figures.epoch, figures.auroc) for figures in history if figures.auroc is not None]
    right.plot([e for e, _ in known], [a for _, a in known], color="#2ca02c", label="mean over labels")
    right.set_ylabel("AUROC, validation scans")
    right.set_ylim(0.0, 1.02)
    for axes in (left, right):
        if best_epoch is not None:
            axes.axvline(best_epoch, color="0.5", linewidth=0.8, label=f"best epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    stream = io.BytesIO()
    picture.savefig(stream, format="png")
    write_file(run / CURVES, stream.getvalue())
