"""Checkpoints: reading weights without running code from the file, and fitting them to a network.

Every refusal is one sentence that names the file and the first offending entry.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Container, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hirescam_cli.errors import ModelError, UnavailableError
from hirescam_cli.model.archives import NotWeights, exported_weights, is_exported, refuse_programs
from hirescam_cli.model.contract import Network

_COUNTER = "num_batches_tracked"
_PREFIXES = ("module.", "model.", "_orig_mod.")
# What torch.load and the unpickler below it answer to bytes that are not a checkpoint.
_DAMAGED = (
    RuntimeError,
    AssertionError,
    struct.error,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    zipfile.BadZipFile,
)


def read_weights(path: Path, expected_sha256: str | None = None) -> tuple[dict[str, Tensor], str]:
    """Tensors by name and the SHA-256 of the file.

    Reads `.safetensors`, PyTorch files (a state_dict, the authors' {'params': state_dict}, Lightning's
    {'state_dict': ...}) with `weights_only=True` and nothing else, and the tensors of `.pt2` programs. Raises
    UnavailableError if the file is not there, ModelError if it is not a checkpoint or its SHA-256 is not the expected
    one.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise _refuse(path, "it is not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise UnavailableError(
            f"The weights {path.name} cannot be read: {error.strerror}.",
            hint="Give the path of a checkpoint with --weights.",
            code="weights-unavailable",
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256.lower():
        raise ModelError(
            f"The weights {path.name} have SHA-256 {sha256}, the model expects {expected_sha256.lower()}.",
            hint="Use the weights that belong to this model, or correct weights.sha256 in its description.",
            code="weights-sha256",
        )
    if _is_safetensors(data):
        return _safetensors(path, data), sha256
    try:
        refuse_programs(data, path.suffix.lower())
        tensors = exported_weights(data) if is_exported(data) else _pytorch(path, data)
    except NotWeights as error:
        raise _refuse(path, str(error), error.hint) from error
    return tensors, sha256


def _refuse(path: Path, why: str, hint: str | None = None) -> ModelError:
    return ModelError(
        f"{path.name} is not a usable checkpoint: {why}.",
        hint=hint
        or "Expected are .safetensors, a PyTorch state_dict, {'params': ...}, {'state_dict': ...} or .pt2.",
        code="weights-format",
    )


def _is_safetensors(data: bytes) -> bool:
    return len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def _safetensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load(data))
    except (safetensors.SafetensorError, json.JSONDecodeError, ValueError, KeyError) as error:
        raise _refuse(path, f"its safetensors header is damaged ({error})") from error


def _pytorch(path: Path, data: bytes) -> dict[str, Tensor]:
    if not data:
        raise _refuse(path, "it is empty")
    try:
        # Lightning keeps the options of a training beside the weights; a Namespace is nothing but attributes.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise _refuse(
                path, "it holds Python objects other than tensors, which hirescam never loads"
            ) from error
        raise _refuse(path, "it is not a PyTorch file") from error
    except _DAMAGED as error:
        raise _refuse(path, "it is truncated or not a PyTorch file") from error
    content = _named_tensors(content)
    if not isinstance(content, Mapping) or not content:
        raise _refuse(path, f"it holds a {type(content).__name__}, not named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _refuse(path, f"its entry {name!r} is a {type(value).__name__}, not a tensor")
    return dict(content)


def _named_tensors(content: object) -> object:
    """The entry that holds the weights, where a file holds more: "params" may as well be a training's options."""
    if not isinstance(content, Mapping):
        return content
    inner = [content[key] for key in ("params", "state_dict", "model_state_dict") if key in content]
    tables = [one for one in inner if isinstance(one, Mapping)]
    with_tensors = (one for one in tables if any(isinstance(value, Tensor) for value in one.values()))
    return next(with_tensors, tables[0] if tables else content)


def without_prefix(tensors: Mapping[str, Tensor], wanted: Container[str]) -> dict[str, Tensor]:
    """Tensors by the names that a network knows: `module.` and `model.` are taken off where all names have them."""
    found = dict(tensors)
    while not all(name in wanted for name in found):
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in found)), None)
        if prefix is None or any(name in wanted for name in found):
            break
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def fit(network: Network, tensors: Mapping[str, Tensor], file: str, labels: int) -> None:
    """Load `tensors` into the module of `network` in place, as float32; ModelError unless every entry fits exactly."""
    module = network.module
    wanted = {name: value for name, value in module.state_dict().items() if not name.endswith(_COUNTER)}
    counted = {name: value for name, value in _own(network, tensors).items() if not name.endswith(_COUNTER)}
    given = without_prefix(counted, wanted)
    head = given.get(f"{network.linear_head}.weight")
    faults = []
    if missing := [name for name in wanted if name not in given]:
        faults.append(f"{len(missing)} entries are missing, the first is {missing[0]}")
    if extra := [name for name in given if name not in wanted]:
        faults.append(f"{len(extra)} entries are unknown to the architecture, the first is {extra[0]}")
    if not faults and head is not None and (found := head.shape[0] if head.ndim else 0) != labels:
        raise ModelError(
            f"{file} is a network of {found} labels, the model lists {labels}.",
            hint="Choose the model whose label list belongs to these weights (--model).",
            code="weights-labels",
        )
    other = [name for name in given if name in wanted and given[name].shape != wanted[name].shape]
    if other:
        name = other[0]
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        faults.append(
            f"{name} has shape {list(given[name].shape)}, expected {list(wanted[name].shape)}{more}"
        )
    if faults:
        raise _mismatch(file, "; ".join(faults))
    buffers = dict(module.named_buffers())
    for name, value in given.items():
        if (kind := _kind(wanted[name])) != _kind(value):
            raise _mismatch(file, f"{name} has type {value.dtype}, expected {kind}")
        if name.endswith("running_var") and (value < 0).any():
            raise ModelError(
                f"{file}: {name} holds variances below 0 (the lowest is {float(value.min()):g}).",
                hint="The checkpoint is damaged, or not that of a batch norm.",
                code="weights-variance",
            )
        if not _finite(name, value.to(torch.float32), buffers):
            raise ModelError(
                f"{file}: {name} holds weights that are not finite in float32.",
                hint="The checkpoint is damaged.",
                code="weights-nan",
            )
    values = {name: value.float() if value.is_floating_point() else value for name, value in given.items()}
    module.load_state_dict(values, strict=False)


def _kind(tensor: Tensor) -> str:
    """What a tensor holds, however many bits there are to it."""
    if tensor.is_floating_point():
        return "floating point"
    if tensor.is_complex():
        return "complex numbers"
    return "bool" if tensor.dtype == torch.bool else "integers"


def _finite(name: str, value: Tensor, buffers: Container[str]) -> bool:
    """Whether a value can be computed with: a mask, which is a buffer but not a norm's, may hold minus infinity."""
    mask = name in buffers and not name.endswith(("running_mean", "running_var"))
    return bool((torch.isfinite(value) | (torch.isneginf(value) if mask else False)).all())


def _own(network: Network, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of the network, where a file holds it below a name among others."""
    for above in network.published_below:
        own = {name.removeprefix(above): value for name, value in tensors.items() if name.startswith(above)}
        if own:
            return own
    return tensors


def _mismatch(file: str, why: str) -> ModelError:
    return ModelError(
        f"{file} does not fit the network: {why}.",
        hint="Check that --model and its parameters describe these weights.",
        code="weights-mismatch",
    )
