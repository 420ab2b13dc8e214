"""Which device and precision a run uses: only "auto" may choose, what was named is used or refused."""

from __future__ import annotations

import torch

from hirescam_cli.errors import UnavailableError
from hirescam_cli.options import BY_NAME


def resolve_device(requested: str) -> tuple[torch.device, tuple[str, ...]]:
    """The device for `requested` (auto, cpu, cuda, cuda:N, mps) and notes on what "auto" fell back to.

    Raises UnavailableError for a device that is not there, UsageError for a name that is none.
    """
    if requested == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0"), ()
        return torch.device("cpu"), ("device auto: no CUDA device, the CPU is used",)
    BY_NAME["device"].check(requested)
    kind, _, index = requested.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise UnavailableError(
                f"The device {requested} is not there: {count} CUDA devices are visible.",
                hint="Choose another --device, or auto to fall back to the CPU.",
                code="device-unavailable",
            )
        return torch.device("cuda", int(index or 0)), ()
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UnavailableError(
            "The device mps is not there.",
            hint="Choose another --device, or auto.",
            code="device-unavailable",
        )
    return torch.device(kind), ()


def resolve_precision(requested: str, device: torch.device) -> str:
    """The precision for `requested`: "auto" is fp16 for the trunk on a CUDA GPU and fp32 elsewhere."""
    if requested != "auto":
        return requested
    return "fp16" if device.type == "cuda" else "fp32"
