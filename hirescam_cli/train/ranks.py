"""One process or several: torchrun's, that each take a scan of every step and keep the same weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hirescam_cli.errors import UnavailableError

Item = TypeVar("Item")
_PATIENCE = timedelta(minutes=60)


@dataclass(frozen=True)
class Ranks:
    """This process is the one number `rank` of `size`; `local`: its number on this machine."""

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, all in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).to(torch.float32) for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def add_numbers(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """Sums of numbers over the processes, in float64."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def gather(self, items: Sequence[Item]) -> list[Item]:
        """The items of all processes, on each."""
        if self.size == 1:
            return list(items)
        found: list[list[Item] | None] = [None] * self.size
        dist.all_gather_object(found, list(items))
        return [item for part in found if part is not None for item in part]

    def wait(self) -> None:
        """Until all have come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """The processes that torchrun started, or this one. Raises UnavailableError where they cannot be joined."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    gpu = torch.cuda.is_available() and device.partition(":")[0] in ("auto", "cuda")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if gpu:
        torch.cuda.set_device(local)
    try:
        dist.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError, dist.DistError) as error:
        raise UnavailableError(
            f"The {size} processes cannot be joined: {error}.",
            hint="Start them with torchrun, and see that they reach each other.",
            code="processes",
        ) from error
    try:
        yield Ranks(dist.get_rank(), size, local)
        # torchrun ends all processes when one ends badly: none leaves before the first has written all. Where another
        # has gone already, it has said why.
        with suppress(RuntimeError):
            dist.barrier()
    finally:
        dist.destroy_process_group()


def device_of(requested: str, ranks: Ranks) -> str:
    """The device to ask for: each process of a machine has a GPU of its own."""
    if ranks.size > 1 and requested in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{ranks.local}"
    return requested
