"""The engine: one pass over a scan, and the maps of every label and method from it.

Where positions along the first axis do not know of each other until the mean over their scores, they run in chunks and
the memory does not depend on the length of the scan. Nothing of the borrowed network is touched: the engine works on a
copy of its own, with batch norms folded into the convolutions and ReLUs that do not overwrite what is to be explained.
What a pass leaves behind in the copy is taken back before the next, so that no scan's result depends on another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hirescam_cli.errors import ModelError
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import Feed
from hirescam_cli.explain.freezing import HeldConstant
from hirescam_cli.explain.head import behind_a_mean, is_linear_head
from hirescam_cli.explain.method import HeadMethod, PathMethod
from hirescam_cli.explain.own_copy import CPU_PIECE, InPieces, halve, own_copy, take_in_pieces
from hirescam_cli.explain.parts import Parts, only
from hirescam_cli.explain.passes import captured, deterministic
from hirescam_cli.explain.replayed import Baseline
from hirescam_cli.explain.shared import shared
from hirescam_cli.explain.shortage import memory_needed
from hirescam_cli.explain.state import State
from hirescam_cli.explain.tail import BiasTerm, bias_terms
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.model.contract import Network
from hirescam_cli.registries import METHODS

CPU_CHUNK = 8
GPU_CHUNK = 64
_GPU_BYTES_A_GROUP = 128 << 20
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Engine:
    """Explains scans with one network on one device, in one precision.

    `target_layer`, `at`: what is explained (None: what the network names). `precision`: "fp32", or "bf16" / "fp16" for
    the trunk; what follows it and the maps are always computed in fp32, and so is the trunk if the target lies in it
    (`fallbacks` says so). `chunk`: positions at a time (None: by device). `freeze`: kinds of normalisers above the
    target that are held constant (see `freezing`). `rewriting`: whether the copy may be changed for speed (batch norms
    folded, the trunk in pieces, channels last); the trial finds out where it may not.
    Raises ModelError for a target layer that the network does not have.
    """

    def __init__(
        self,
        network: Network,
        feed: Feed,
        *,
        target_layer: str | None = None,
        at: str | None = None,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        chunk: int | None = None,
        freeze: Sequence[str] = (),
        rewriting: bool = True,
    ) -> None:
        self.contract, self.feed = network, feed
        self.device = torch.device(device)
        self.target_layer = network.target_layer if target_layer is None else target_layer
        self.at = at or network.at
        self.precision, self.rewriting = precision, rewriting
        self.fallbacks: tuple[str, ...] = ()
        cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # type: ignore[no-untyped-call]
        layer = _find(network, self.target_layer, self.at)
        head = network.linear_head
        self.closed_form = (
            (self.target_layer, self.at) == (network.target_layer, network.at)
            and head is not None
            and is_linear_head(network.module.get_submodule(head))
        )
        in_trunk = _in_trunk(network.trunk, self.target_layer, self.at)
        self.chunk = self._usual_chunk = chunk or _chunk_for(self.device, in_trunk)
        # Nothing comes between the last layer and what reads it, so there no ReLU overwrites the activation.
        # Nor may what a batch norm makes of a convolution stand for what the convolution itself gives.
        between = isinstance(layer, nn.Conv2d | nn.Conv3d) or (
            self.at == "input" and isinstance(layer, _BatchNorm)
        )
        fold = rewriting and network.norms_follow and not in_trunk and not between
        own = own_copy(network.module, fold=fold, keep_in_place=self.closed_form)
        pieces = self.device.type == "cpu" and network.by_slices and len(network.trunk) == 1
        if rewriting and pieces and not in_trunk:
            take_in_pieces(own, network.trunk[0])
        self.network: nn.Module = own.to(self.device)
        self.layer = self.network.get_submodule(self.target_layer)
        self._layout = torch.preserve_format
        if rewriting and self.device.type != "mps" and len(network.inputs) == 4:
            self._layout = torch.channels_last
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision in _HALF:
            self._halve(network, precision)
        self.bias_terms: list[BiasTerm] = [] if self.closed_form else bias_terms(self.network)
        self._held = HeldConstant(freeze)
        self._blanks: dict[tuple[int, ...], Baseline] = {}
        self._state = State(self.network, but=(InPieces,))

    def _halve(self, network: Network, precision: str) -> None:
        # Gradients within the trunk underflow in half precision.
        why = None if network.trunk else "the network names no trunk"
        if _in_trunk(network.trunk, self.target_layer, self.at):
            why = f"{self.target_layer} lies in the trunk"
        elif network.trunk and _before_its_end(network, self.target_layer, self.at):
            why = f"{self.target_layer} comes before the end of the trunk"
        if why is not None:
            self.precision = "fp32"
            self.fallbacks = (f"precision fp32 instead of {precision}: {why}",)
        else:
            halve([self.network.get_submodule(name) for name in network.trunk], _HALF[precision])

    def check(self, methods: Sequence[str]) -> None:
        """Raise ModelError for a method that does not exist for this network and target."""
        head = self.contract.linear_head
        pooled = self.closed_form and head is not None and behind_a_mean(self.network.get_submodule(head))
        for method in (METHODS.find(name) for name in methods):
            if isinstance(method, HeadMethod) and not pooled:
                raise ModelError(
                    f"{method.title} does not exist at {self.target_layer!r} of this network: it needs a linear layer "
                    "behind a mean over all cells.",
                    hint="Choose another --method; HiResCAM is the same up to a factor where CAM exists.",
                    code="method-unavailable",
                )

    def explain(self, positions: Voxels, padding: NDArray[np.bool_], methods: Sequence[str]) -> Explanation:
        """Explain one scan.

        `positions`: [n, slices, j, k] (see `Feed.positions`); `padding` [n]: positions that are nothing but padding;
        where positions are independent, those of them that are identical are computed once; `methods`: names of the
        registry.
        """
        wanted = [METHODS.find(method) for method in methods]
        unique = np.arange(len(positions))
        place = unique.copy()
        if self.contract.by_slices:
            unique, place = shared(positions, padding)
        with deterministic(), memory_needed(self.device, "the maps of this scan"):
            follows = any(isinstance(method, PathMethod) for method in wanted)
            blank = self._blank(positions.shape) if follows else None
            parts = Parts(self, np.bincount(place), wanted, blank)
            parts.run(positions, unique)
            return parts.result(torch.from_numpy(place))

    @property
    def frozen(self) -> tuple[str, ...]:
        """The normalisers that were come across above the target, and held constant."""
        return tuple(sorted(self._held.met))

    def holding(self) -> AbstractContextManager[object]:
        """While it lasts, the normalisers that are to be held constant are."""
        return self._held if self._held.names else nullcontext()

    def seen(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The answer to network values, and the target's activation as the network has it."""
        with captured(self.layer, self.at, leaf=False) as kept:
            answer = self.answer(values).float()
            return answer, only(kept, self.target_layer)

    def _blank(self, shape: Sequence[int]) -> Baseline:
        """What a volume of air gives: one position of it where positions are independent. Computed once a shape."""
        count, slices, j, k = shape
        count = 1 if self.contract.by_slices else count
        key = (count, slices, j, k)
        if key not in self._blanks:
            air = self.feed.air((count * slices, j, k), alike=self.contract.by_slices)
            answer, activation = self.seen(self.values(self.feed.positions(air), np.arange(count)))
            self._blanks[key] = Baseline(activation, answer.mean(dim=0).clone())
        return self._blanks[key]

    def smaller_chunks(self) -> tuple[str, ...]:
        """What to say where memory was too short for the usual chunks, in this scan or in one before it."""
        if self.chunk == self._usual_chunk:
            return ()
        return (f"out of memory: chunks of {self.chunk} slice groups instead of {self._usual_chunk}",)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards tells what was computed before."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def answer(self, values: Tensor) -> Tensor:
        """Logits or slice scores of a tensor of network values, whatever was asked before."""
        self._state.restore()
        return self.contract.run(self.network, values)

    def forward_only(self, positions: Voxels) -> NDArray[np.float32]:
        """Slice scores [n, L] of positions, or logits [1, L]: what `bench` compares with."""
        scores, every = [], np.arange(len(positions))
        step = self.chunk if self.contract.by_slices else len(every)
        with torch.no_grad(), deterministic():
            for start in range(0, len(every), step):
                scores.append(self.answer(self.values(positions, every[start : start + step])).float().cpu())
        found: NDArray[np.float32] = torch.cat(scores).numpy()
        return found

    def values(self, positions: Voxels, some: NDArray[np.int64]) -> Tensor:
        """Network values of `some` of the positions, on the device, channels last where that is faster."""
        return self.feed.tensor(self._on_device(positions, some), self._layout)

    def _on_device(self, positions: Voxels, some: NDArray[np.int64]) -> Tensor:
        """Voxels on the device; to a GPU by a stream of its own, while the chunk before is computed."""
        consecutive = bool((np.diff(some) == 1).all())
        here = torch.from_numpy(
            np.ascontiguousarray(positions[some[0] : some[-1] + 1] if consecutive else positions[some])
        )
        if self._copies is None:
            return here.to(self.device)
        staged = torch.empty(here.shape, dtype=here.dtype, pin_memory=True)
        staged.copy_(here)
        with torch.cuda.stream(self._copies):
            there = staged.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copies)
        there.record_stream(computing)
        return there


def _find(network: Network, layer: str, at: str) -> nn.Module:
    """The target's module. Raises ModelError if there is none or nothing of it can be explained."""
    modules = dict(network.module.named_modules())
    scripted = [name for name, module in modules.items() if isinstance(module, torch.jit.ScriptModule)]
    if scripted:
        raise ModelError(
            f"The network's module {scripted[0]!r} is compiled by torch.jit, and what it computes cannot be watched.",
            hint="Build the network from its Python code, without torch.jit.script and torch.jit.trace.",
            code="model-scripted",
        )
    if layer in modules and layer not in ("", network.linear_head if at == "output" else ""):
        found: nn.Module = modules[layer]
        return found
    raise ModelError(
        f"The network has no layer {layer!r} to explain.",
        hint=f"Its usual target is {network.target_layer}; `hirescam model show` lists the layers.",
        code="target-layer",
    )


def _in_trunk(trunk: Sequence[str], layer: str, at: str) -> bool:
    """Whether a target lies below what leaves the trunk: inside one of its modules, or at one that is not its end."""
    last = (trunk[-1] if trunk else "", "output")
    return any(layer.startswith(f"{name}.") or (layer == name and (layer, at) != last) for name in trunk)


def _before_its_end(network: Network, layer: str, at: str) -> bool:
    """Whether a target outside the trunk is registered before the trunk's last module, or begins above it."""
    last = network.trunk[-1]
    if last.startswith(f"{layer}."):
        return at == "input"
    names = [name for name, _ in network.module.named_modules(remove_duplicate=False)]
    return names.index(layer) < names.index(last)


def _chunk_for(device: torch.device, in_trunk: bool) -> int:
    """Positions at a time: by the GPU's whole memory, not by what is free now, so that bits do not depend on it."""
    if device.type != "cuda":
        return CPU_PIECE if in_trunk else CPU_CHUNK
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(1, min(GPU_CHUNK, memory // 2 // _GPU_BYTES_A_GROUP))
