"""What is written at the end of an epoch: metrics, curves, and the model where it is the best so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from hirescam_cli import __version__
from hirescam_cli.train.curves import write_curves
from hirescam_cli.train.events import Event, Listener
from hirescam_cli.train.plan import Plan
from hirescam_cli.train.publish import Choice, choose, label_story, publish, write_metrics
from hirescam_cli.train.records import EpochFigures, Progress
from hirescam_cli.train.summary import TRAINED, left_out
from hirescam_cli.train.trackers import Tracker
from hirescam_cli.train.validation import Validation

_CURVES_EVERY_S = 60.0


class Writing:
    """Writes into the run's folder, in the first process."""

    def __init__(self, plan: Plan, listener: Listener, trackers: Sequence[Tracker]) -> None:
        self._plan, self._listener, self._trackers = plan, listener, trackers
        self._run = plan.request.control.output
        self._drawn = time.monotonic()

    def epoch(self, validation: Validation, progress: Progress, *, better: bool) -> None:
        """An epoch has ended. Raises OutputCreateError or OutputIOError."""
        figures = progress.history[-1]
        if better:
            options = self._plan.request.options
            choice = choose(validation, options.calibrate, options.thresholds)
            story = training_story(self._plan, progress, choice)
            publish(self._run, self._plan.learner.network, self._plan.spec, validation, choice, story)
        write_metrics(self._run, progress.history, self._plan.table.labels)
        if time.monotonic() - self._drawn > _CURVES_EVERY_S:
            self.last(progress)
        for tracker in self._trackers:
            tracker.epoch(figures)
        self._listener(_event(figures, better=better))

    def last(self, progress: Progress) -> None:
        """Draw the curves. Raises OutputCreateError or OutputIOError."""
        write_curves(self._run, progress.history, progress.best_epoch)
        self._drawn = time.monotonic()


def _event(figures: EpochFigures, *, better: bool) -> Event:
    area = "unknown" if figures.auroc is None else f"{figures.auroc:.3f}"
    text = (
        f"Epoch {figures.epoch}: loss {figures.train.total:.4f} in training, {figures.valid.total:.4f} in validation, "
        f"mean AUROC {area}, {figures.seconds:.1f} s{', the best so far' if better else ''}."
    )
    facts = {
        "epoch": figures.epoch, "train": figures.train.total, "valid": figures.valid.total, "auroc": figures.auroc,
        "seconds": round(figures.seconds, 3), "best": better,
    }  # fmt: skip
    return Event("epoch", text, facts)


def training_story(plan: Plan, progress: Progress, choice: Choice) -> Mapping[str, object]:
    """The [training] table of the model file after its last epoch: on what, how, and how well.

    Scans, patients and positives are those that could be used; figures are of the validation scans.
    """
    table, options, figures = plan.table.without(progress.failed), plan.request.options, progress.history[-1]
    counts = table.counts()
    labels = {}
    pairs = zip(table.labels, choice.scalings, choice.thresholds, strict=True)
    for label, scaling, limit in pairs:
        story = label_story(figures.labels[label], (scaling, limit))
        trained = {f"training_{truth}s": counts[label]["train"][truth] for truth in ("positive", "negative")}
        labels[label] = {**trained, **story}
    return {
        "note": "Research; not for diagnosis. AUROC with 95 % intervals is of the validation scans, which chose "
        "epoch, thresholds and calibration: expect less elsewhere.",
        "version": __version__,
        "date": datetime.now(UTC).date().isoformat(),
        "data_sha256": plan.table.sha256,
        "scans": {split: len(table.of(split)) for split in TRAINED},
        "scans_left_out": left_out(plan.table, progress),
        "patients": {split: len({row.patient for row in table.of(split)}) for split in TRAINED},
        "patients_known": table.patients_known,
        "start_sha256": plan.start.sha256 or "none",
        "epoch": figures.epoch,
        "seed": options.seed,
        "mask_loss": plan.request.masks.loss,
        "warm_up": options.warm_up,
        "calibrate": options.calibrate,
        "thresholds": options.thresholds,
        "labels": labels,
    }
