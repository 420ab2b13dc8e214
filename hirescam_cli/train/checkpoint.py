"""All that a resume needs, in two generations: RUN/last/<step>/, each whole or not there.

    weights.safetensors      the module's parameters and buffers
    optimiser.safetensors    the optimiser's tensors, "parameter|key"
    state.json               where the run is, and the SHA-256 of the two others

A new one is written beside its name, synced and renamed; only then the oldest goes. Order, augmentation and dropout
are drawn from seed, epoch and place, so no state of a generator is needed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import safetensors.torch
import torch
from torch import Tensor, nn

from hirescam_cli.durable import output_error, read_back, sync_file, sync_tree, temporary_name
from hirescam_cli.errors import ModelError
from hirescam_cli.train.records import Progress

LAST, WEIGHTS, OPTIMISER, STATE = "last", "weights.safetensors", "optimiser.safetensors", "state.json"
GENERATIONS = 2


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    files: dict[str, str]
    progress: Progress


@dataclass(frozen=True)
class Checkpoint:
    """One that was found whole."""

    folder: Path
    progress: Progress
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Put it into a module and its optimiser. Raises ModelError for another network's."""
        try:
            module.load_state_dict(self.weights)
        except RuntimeError as error:
            raise _unusable(self.folder, "it is of another network") from error
        _load_optimiser(module, optimiser, self.optimiser)


def save_checkpoint(
    run: Path, module: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress
) -> None:
    """Add a generation. Raises OutputCreateError or OutputIOError; then the earlier ones are as they were."""
    parent = run / LAST
    name = f"step-{progress.total_steps:09d}-{'v' if progress.validated else 't'}"
    folder = parent / temporary_name(name, "tmp")
    try:
        parent.mkdir(exist_ok=True)
        folder.mkdir()
        _save(folder / WEIGHTS, dict(module.state_dict()))
        _save(folder / OPTIMISER, _optimiser_tensors(module, optimiser))
        files = {part: read_back(folder / part).sha256 for part in (WEIGHTS, OPTIMISER)}
        state = msgspec.json.encode(_State(files=files, progress=progress))
        (folder / STATE).write_bytes(msgspec.json.format(state, indent=1))
        sync_tree(folder)
        if (parent / name).exists():
            # The same step again after a resume: the same bits.
            shutil.rmtree(parent / name)
        os.rename(folder, parent / name)
        sync_file(parent)
    except OSError as error:
        raise output_error(error, f"{LAST}/{name}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for old in _generations(run)[GENERATIONS:]:
        shutil.rmtree(old, ignore_errors=True)
    for left in parent.glob(".step-*"):
        shutil.rmtree(left, ignore_errors=True)


def load_checkpoint(run: Path) -> Checkpoint | None:
    """The newest whole generation; None where there is none yet. Raises ModelError if none of several is whole."""
    generations = _generations(run)
    for folder in generations:
        with suppress(OSError, ValueError, KeyError, msgspec.MsgspecError, safetensors.SafetensorError):
            state = msgspec.json.decode((folder / STATE).read_bytes(), type=_State)
            if all(read_back(folder / part).sha256 == digest for part, digest in state.files.items()):
                weights = safetensors.torch.load((folder / WEIGHTS).read_bytes())
                optimiser = safetensors.torch.load((folder / OPTIMISER).read_bytes())
                return Checkpoint(folder, state.progress, weights, optimiser)
    if generations:
        raise _unusable(generations[0], "no generation of it is whole")
    return None


def forget(run: Path, files: Sequence[str]) -> None:
    """Remove every generation, and some files of the run. Raises OutputCreateError."""
    try:
        if (run / LAST).exists():
            shutil.rmtree(run / LAST)
        for name in files:
            (run / name).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(error, LAST) from error


def _generations(run: Path) -> list[Path]:
    """Newest first."""
    parent = run / LAST
    if not parent.is_dir():
        return []
    return sorted(
        (p for p in parent.iterdir() if p.name.startswith("step-")), key=lambda p: p.name, reverse=True
    )


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    path.write_bytes(safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}))


def _optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{names[parameter]}|{key}": value
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def _load_optimiser(module: nn.Module, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = dict(module.named_parameters())
    for full, value in tensors.items():
        name, _, key = full.partition("|")
        parameter = parameters[name]
        # A step counter stays where it was saved from: on the CPU.
        there = value.to(parameter.device) if value.shape == parameter.shape else value
        if there.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
            there = there.contiguous(memory_format=torch.channels_last)
        optimiser.state[parameter][key] = there


def _unusable(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"The checkpoint {folder.parent.name}/{folder.name} cannot be resumed from: {why}.",
        hint="Begin anew with --existing overwrite, or with another --output.",
        code="checkpoint",
    )
