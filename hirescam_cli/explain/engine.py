"""The engine: one pass over the slice groups of a scan, and the maps of every label and method from it.

Groups do not know of each other until the mean over their scores, so they run in chunks and the memory does
not depend on the length of the scan. Nothing of the borrowed network is touched: the engine works on a copy
of its own, with batch norms folded into the convolutions and ReLUs that do not overwrite what is to be
explained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.explain import cam
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.own_copy import CPU_PIECE, halve_below, holds, own_copy, take_in_pieces
from hirescam_cli.explain.passes import captured, deterministic
from hirescam_cli.explain.shortage import is_out_of_memory, memory_needed
from hirescam_cli.model.registry import Network

CPU_CHUNK = 8
GPU_CHUNK = 64
_GPU_BYTES_A_GROUP = 128 << 20
LABELS_A_CHUNK = 16
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class InputScale:
    """How HU become network values: clamped to `window`, scaled to 0 .. 1, minus `subtract`."""

    window: tuple[float, float]
    subtract: float

    def __call__(self, hu: Tensor, layout: torch.memory_format = torch.preserve_format) -> Tensor:
        """Network values, float32, of an integer tensor in HU."""
        low, high = self.window
        values = hu.to(torch.float32, memory_format=layout).clamp_(low, high)
        return values.sub_(low).div_(high - low).sub_(self.subtract)


class Engine:
    """Explains scans with one network on one device, in one precision.

    `precision`: "fp32", or "bf16" / "fp16" for the trunk; the head and the maps are always computed in fp32,
    and so is the trunk if the target layer lies in it (`fallbacks` says so). `chunk`: slice groups at a time
    (None: by device).
    Raises ModelError for a target layer that the network does not have.
    """

    def __init__(
        self,
        network: Network,
        *,
        target_layer: str,
        scale: InputScale,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        chunk: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.target_layer = target_layer
        self.scale = scale
        self.precision = precision
        self.fallbacks: tuple[str, ...] = ()
        cuda = self.device.type == "cuda"
        self._copies = torch.cuda.Stream(self.device) if cuda else None  # type: ignore[no-untyped-call]
        self.closed_form = target_layer == network.last_layer
        modules = dict(network.named_modules())
        if target_layer not in modules or target_layer in ("", "fc"):
            raise ModelError(
                f"The network has no layer {target_layer!r} to explain.",
                hint=f"Its last convolution is {network.last_layer}; `hirescam model show` lists the layers.",
                code="target-layer",
            )
        in_trunk = holds(network.trunk, modules[target_layer])
        self.chunk = self._usual_chunk = chunk or _chunk_for(self.device, in_trunk)
        # Nothing comes between the last layer and what reads it, so there no ReLU overwrites the activation.
        own = own_copy(network, fold=network.norms_follow and not in_trunk, keep_in_place=self.closed_form)
        if self.device.type == "cpu" and not in_trunk:
            take_in_pieces(own)
        self.network = own.to(self.device)
        self._layer = self.network.get_submodule(target_layer)
        if self.device.type != "mps":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision in _HALF and in_trunk:
            # Gradients within the trunk underflow in half precision.
            self.precision = "fp32"
            self.fallbacks = (f"precision fp32 instead of {precision}: {target_layer} lies in the trunk",)
        elif precision in _HALF:
            halve_below(self.network, _HALF[precision])

    def explain(
        self, hu: NDArray[np.int16], padding_groups: NDArray[np.bool_], methods: Sequence[str]
    ) -> Explanation:
        """Explain one scan.

        `hu`: int16 [S, slices per group, side, side]; `padding_groups` [S]: groups that are nothing but
        padding, which are identical and computed once; `methods`: "hirescam", "gradcam".
        """
        first_padding = np.flatnonzero(padding_groups)[:1]
        unique = np.concatenate([np.flatnonzero(~padding_groups), first_padding])
        place = np.empty(len(hu), dtype=np.int64)
        place[unique] = np.arange(len(unique))
        if first_padding.size:
            place[padding_groups] = len(unique) - 1
        with deterministic(), memory_needed(self.device, "the maps of this scan"):
            parts = _Parts(self, len(hu), np.bincount(place), methods)
            parts.run(hu, unique)
            return parts.result(torch.from_numpy(place))

    def smaller_chunks(self) -> tuple[str, ...]:
        """What to say where memory was too short for the usual chunks, in this scan or in one before it."""
        if self.chunk == self._usual_chunk:
            return ()
        return (f"out of memory: chunks of {self.chunk} slice groups instead of {self._usual_chunk}",)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards tells what was computed before."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forward_only(self, hu: NDArray[np.int16]) -> NDArray[np.float32]:
        """Slice scores [S, L] of groups [S, slices per group, side, side]: what `bench` compares with."""
        scores, every = [], np.arange(len(hu))
        with torch.inference_mode(), deterministic():
            for start in range(0, len(hu), self.chunk):
                scores.append(
                    self.network.scores(self.values(hu, every[start : start + self.chunk])).float().cpu()
                )
        return cast(NDArray[np.float32], torch.cat(scores).numpy())

    def values(self, hu: NDArray[np.int16], groups: NDArray[np.int64]) -> Tensor:
        """Network values of the groups `groups` of a scan in HU, on the device, channels last where that is faster."""
        layout = torch.preserve_format if self.device.type == "mps" else torch.channels_last
        return self.scale(self._on_device(hu, groups), layout)

    def _on_device(self, hu: NDArray[np.int16], groups: NDArray[np.int64]) -> Tensor:
        """Groups of HU on the device; to a GPU by a stream of its own, while the chunk before is computed."""
        consecutive = bool((np.diff(groups) == 1).all())
        here = torch.from_numpy(
            np.ascontiguousarray(hu[groups[0] : groups[-1] + 1] if consecutive else hu[groups])
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


class _Parts:
    """Collects the chunks of one scan."""

    def __init__(
        self,
        engine: Engine,
        groups: int,
        multiplicity: NDArray[np.int64],
        methods: Sequence[str],
    ) -> None:
        self.engine, self.groups, self.methods = engine, groups, methods
        self.begin, self.explaining = time.perf_counter(), 0.0
        self.multiplicity = torch.from_numpy(multiplicity).to(torch.float32)
        self.scores: list[Tensor] = []
        self.maps: list[Tensor] = []
        self.activations: list[Tensor] = []
        self.alpha: Tensor | None = None

    def run(self, hu: NDArray[np.int16], computed: NDArray[np.int64]) -> None:
        """Take the groups `computed` of `hu` through the network, chunk by chunk."""
        start = 0
        while start < len(computed):
            chunk = self.engine.chunk
            try:
                self._chunk(hu, computed[start : start + chunk], start)
            except (RuntimeError, MemoryError) as error:
                if chunk == 1 or not is_out_of_memory(error):
                    raise
            else:
                start += chunk
                continue
            # Only here, after the exception is gone, does nothing hold what the chunk had allocated.
            self.engine.chunk = chunk // 2
            torch.cuda.empty_cache()

    def _chunk(self, hu: NDArray[np.int16], groups: NDArray[np.int64], start: int) -> None:
        engine = self.engine
        if engine.closed_form:
            with torch.inference_mode(), captured(engine._layer, leaf=False) as kept:
                scores = engine.network.scores(engine.values(hu, groups))
                scores, activation = scores.float(), kept[0].float()
            self.scores.append(scores)
            self.activations.append(activation)
            return
        with torch.enable_grad(), captured(engine._layer, leaf=True) as kept:
            scores = engine.network.scores(engine.values(hu, groups)).float()
            activation = kept[0]
            engine.synchronize()
            begin = time.perf_counter()
            maps, alpha = self._gradients(scores, activation, start)
            maps, values = maps.cpu(), activation.detach().float().cpu()
            self.explaining += time.perf_counter() - begin
        # Only a chunk that came through whole counts: one that ran out of memory is computed again.
        self.scores.append(scores.detach())
        self.maps.append(maps)
        self.activations.append(values)
        self.alpha = alpha if self.alpha is None else self.alpha + alpha

    def _gradients(self, scores: Tensor, activation: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """HiResCAM maps [L, n, h, w] of a chunk, and its share of Grad-CAM's alpha [L, C]."""
        n, labels = scores.shape
        many = self.multiplicity[start : start + n].to(scores.device)
        channels, cells = activation.shape[1], activation.shape[2] * activation.shape[3]
        alpha = torch.empty(labels, channels, device=scores.device)
        values = activation.detach().float()
        maps = torch.empty(labels, n, *activation.shape[2:], device=scores.device)
        for low in range(0, labels, LABELS_A_CHUNK):
            high = min(low + LABELS_A_CHUNK, labels)
            seeds = torch.zeros(high - low, n, labels, device=scores.device)
            seeds[torch.arange(high - low), :, torch.arange(low, high)] = 1.0 / self.groups
            (gradients,) = torch.autograd.grad(
                scores, activation, seeds, retain_graph=high < labels, is_grads_batched=True
            )
            gradients = gradients.float()
            maps[low:high] = cam.hirescam(values, gradients)
            weighted = torch.einsum("lncyx,n->lc", gradients, many)
            alpha[low:high] = weighted / (cells * self.groups)
        return maps, alpha

    def result(self, place: Tensor) -> Explanation:
        """Put the chunks together; `place` [S] is each group's index among the computed ones."""
        fc = self.engine.network.fc
        scores = torch.cat(self.scores).cpu()[place]
        middle = time.perf_counter()
        if not torch.isfinite(scores).all():
            raise HirescamError(
                f"The network answered with values that are not finite (precision {self.engine.precision}).",
                hint="Run again with --precision fp32; if it stays, the weights overflow on this scan.",
                code="not-finite",
                stage="network",
            )
        cams: dict[str, Tensor] = {}
        if self.engine.closed_form:
            activations = torch.cat(self.activations)
            weight = fc.weight.detach().float()
            if "hirescam" in self.methods:
                cams["hirescam"] = cam.hirescam_last_layer(activations, weight, self.groups)
            if "gradcam" in self.methods:
                alpha = cam.gradcam_weights_last_layer(weight, self.groups)
                cams["gradcam"] = cam.gradcam(activations, alpha)
        else:
            if "hirescam" in self.methods:
                cams["hirescam"] = torch.cat(self.maps, dim=1)
            if "gradcam" in self.methods and self.alpha is not None:
                cams["gradcam"] = cam.gradcam(torch.cat(self.activations), self.alpha.cpu())
        bias = torch.zeros(fc.out_channels) if fc.bias is None else fc.bias.detach().float().cpu()
        maps = {m: cams[m].cpu()[:, place].contiguous().numpy() for m in self.methods}
        return Explanation(
            cams=maps,
            logits=scores.double().mean(dim=0).numpy(),
            biases=bias.double().numpy(),
            slice_scores=scores.T.contiguous().numpy(),
            target_layer=self.engine.target_layer,
            fallbacks=self.engine.smaller_chunks(),
            seconds={
                "network": middle - self.begin - self.explaining,
                "explain": time.perf_counter() - middle + self.explaining,
            },
        )


def _chunk_for(device: torch.device, in_trunk: bool) -> int:
    """Slice groups at a time: by the GPU's whole memory, not by what is free now, so that bits do not depend on it."""
    if device.type != "cuda":
        return CPU_PIECE if in_trunk else CPU_CHUNK
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(1, min(GPU_CHUNK, memory // 2 // _GPU_BYTES_A_GROUP))
