"""When memory does not suffice: recognising it, and saying so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hirescam_cli.errors import MemoryUnavailableError

_CPU_WORDS = ("DefaultCPUAllocator", "alloc_cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was too short: torch has a class of its own for a GPU, and only a sentence for a CPU."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _CPU_WORDS)


@contextmanager
def memory_needed(device: torch.device, what: str) -> Iterator[None]:
    """Turn every sign of missing memory inside into a MemoryUnavailableError: `what` does not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = f"the GPU {device}" if device.type == "cuda" else "this machine"
        raise MemoryUnavailableError(
            f"There is not enough free memory on {where} for {what}.",
            hint="Free memory (other processes, fewer --jobs), or choose another --device or machine.",
        ) from None
