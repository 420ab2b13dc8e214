"""Where figures go besides metrics.csv: TensorBoard and MLflow, where they are installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol

from hirescam_cli.errors import UnavailableError
from hirescam_cli.train.records import EpochFigures

_NEEDS = {
    "tensorboard": ("torch.utils.tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
}


class Tracker(Protocol):
    """Takes the figures of epochs."""

    def epoch(self, figures: EpochFigures) -> None:
        """One epoch has ended."""

    def close(self) -> None:
        """No more will come."""


def scalars(figures: EpochFigures) -> dict[str, float]:
    """The figures of an epoch by name, without those that are unknown."""
    found: dict[str, float | None] = {"lr": figures.lr, "auroc": figures.auroc, "seconds": figures.seconds}
    for split, losses in (("train", figures.train), ("valid", figures.valid)):
        for part in ("total", "classification", "mask"):
            found[f"loss/{split}_{part}"] = getattr(losses, part)
    found |= {f"auroc/{label}": told.auroc for label, told in figures.labels.items()}
    return {name: value for name, value in found.items() if value is not None}


def open_trackers(
    names: Sequence[str], run: Path, options: Mapping[str, str | int | float | bool]
) -> list[Tracker]:
    """The trackers of these names ("csv" is written anyway). Raises UnavailableError for one that is not installed."""
    kinds: dict[str, type[_TensorBoard] | type[_MLflow]] = {"tensorboard": _TensorBoard, "mlflow": _MLflow}
    return [kinds[name](_module(name), run, options) for name in names if name in kinds]


def check_trackers(names: Sequence[str]) -> None:
    """Raise UnavailableError for a tracker that is not installed, before anything is done."""
    for name in names:
        if name in _NEEDS:
            _module(name)


def _module(name: str) -> ModuleType:
    module, package = _NEEDS[name]
    try:
        return import_module(module)
    except ImportError as error:
        raise UnavailableError(
            f"--log {name} needs the package {package}, which is not installed.",
            hint=f"pip install 'hirescam-cli[{name}]', or leave {name} out: metrics.csv is written anyway.",
            code="package-missing",
        ) from error


class _TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(
        self, module: ModuleType, run: Path, _options: Mapping[str, str | int | float | bool]
    ) -> None:
        self._writer = module.SummaryWriter(str(run / "tensorboard"))

    def epoch(self, figures: EpochFigures) -> None:
        for name, value in scalars(figures).items():
            self._writer.add_scalar(name, value, figures.epoch)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _MLflow:
    """A run of MLflow, where its environment says (MLFLOW_TRACKING_URI), else in RUN/mlflow."""

    def __init__(
        self, module: ModuleType, run: Path, options: Mapping[str, str | int | float | bool]
    ) -> None:
        self._mlflow = module
        if not module.is_tracking_uri_set():
            module.set_tracking_uri(f"sqlite:///{(run / 'mlflow.db').resolve()}")
        module.set_experiment("hirescam train")
        module.start_run(run_name=run.resolve().name)
        module.log_params(dict(options))

    def epoch(self, figures: EpochFigures) -> None:
        self._mlflow.log_metrics({_plain(n): v for n, v in scalars(figures).items()}, step=figures.epoch)

    def close(self) -> None:
        self._mlflow.end_run()


def _plain(name: str) -> str:
    """MLflow takes letters, digits and a few signs."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)
