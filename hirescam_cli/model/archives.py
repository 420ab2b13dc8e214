"""Files that hold more than weights: what they are, and the weights of exported programs, which are not run.

An exported program (`.pt2`, `torch.export.save`) is a zip with its tensors as plain bytes and a JSON file that names
them. `torch.export.load` would fall back to unpickling; here nothing but the JSON and the bytes is looked at, and a
program that keeps weights as pickles is refused.
"""

from __future__ import annotations

import io
import json
import math
import zipfile

import torch
from torch import Tensor

_CONFIG = "data/weights/model_weights_config.json"
# ScalarType of torch's export schema.
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_LARGEST = 1 << 36


class NotWeights(ValueError):
    """The file cannot serve as weights: `str` says why, `hint` what to do instead."""

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def members(data: bytes) -> list[str] | None:
    """The names in a zip, without the one folder that holds them all; None if it is none."""
    if not data.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [name.partition("/")[2] or name for name in archive.namelist()]
    except zipfile.BadZipFile:
        return None


def refuse_programs(data: bytes, suffix: str) -> None:
    """Raise NotWeights for a program in a form of which weights are not taken."""
    names = members(data) or []
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise NotWeights(
            "it is a TorchScript program, whose layers cannot be looked into",
            "Save the module's weights where it was made: torch.save(module.state_dict(), 'weights.pt').",
        )
    if suffix == ".onnx" or (data[:1] == b"\x08" and b"onnx" in data[:4096].lower()):
        raise NotWeights(
            "it is an ONNX program, which has no gradients",
            "Use the PyTorch weights that it was exported from: torch.save(module.state_dict(), 'weights.pt').",
        )
    if any(name.startswith("serialized_") for name in names):
        raise NotWeights(
            "it is an exported program of an older PyTorch, which keeps its weights as pickles",
            "Load it where it was made, and save program.state_dict with torch.save or as safetensors.",
        )


def is_exported(data: bytes) -> bool:
    """Whether it is an exported program whose weights can be read."""
    return _CONFIG in (members(data) or [])


def exported_weights(data: bytes) -> dict[str, Tensor]:
    """The parameters and buffers of an exported program by name. Raises NotWeights."""
    damaged = NotWeights(
        "it is an exported program whose weights are damaged", "Export it again, or give a state_dict."
    )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            places = {name.partition("/")[2]: name for name in archive.namelist()}
            config = json.loads(archive.read(places[_CONFIG]))["config"]
            found = {}
            for name, entry in config.items():
                if entry["use_pickle"]:
                    raise NotWeights(
                        f"it is an exported program that keeps {name} as a pickle, which hirescam never loads",
                        "Save program.state_dict with torch.save or as safetensors.",
                    )
                content = archive.read(places[f"data/weights/{entry['path_name']}"])
                found[name] = _tensor(content, entry["tensor_meta"])
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, zipfile.BadZipFile) as error:
        if isinstance(error, NotWeights):
            raise
        raise damaged from error
    return found


def _tensor(content: bytes, meta: dict[str, object]) -> Tensor:
    """A contiguous copy of a tensor from its bytes and its description."""
    sizes, strides = (_numbers(meta[key]) for key in ("sizes", "strides"))
    offset = _numbers([meta["storage_offset"]])[0]
    dtype = _DTYPES[meta["dtype"]]  # type: ignore[index]
    if math.prod(sizes) > _LARGEST:
        raise ValueError("too large")
    if not math.prod(sizes):
        return torch.empty(sizes, dtype=dtype)
    storage = torch.frombuffer(bytearray(content), dtype=dtype)
    return storage.as_strided(sizes, strides, offset).clone(memory_format=torch.contiguous_format)


def _numbers(values: object) -> list[int]:
    found = [value["as_int"] for value in values]  # type: ignore[attr-defined]
    if not all(isinstance(value, int) and value >= 0 for value in found):
        raise ValueError("sizes that depend on the input")
    return found
