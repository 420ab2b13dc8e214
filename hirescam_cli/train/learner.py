"""The network that is trained: from a prepared scan to logits and, where a loss needs them, maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hirescam_cli.errors import ModelError, UnavailableError
from hirescam_cli.explain.feed import Feed, canonical
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.geometry.types import Voxels
from hirescam_cli.model.contract import Network, stretched
from hirescam_cli.model.spec import ModelSpec
from hirescam_cli.placement import Placement
from hirescam_cli.train.cells import CellGrid
from hirescam_cli.train.evidence import scaled_map, usable_head

_POSITIONS_AT_ONCE = 8


@dataclass(frozen=True)
class Pass:
    """What the network gave: `logits` [L] float32, and `evidence` [L, i, j, k], see `evidence.scaled_map`.

    `scored`: the logit is the mean of scores of positions.
    """

    logits: Tensor
    evidence: Tensor | None
    scored: bool

    @property
    def scale(self) -> int:
        """How many times the evidence is what adds up to the logit."""
        assert self.evidence is not None
        return int(np.prod(self.evidence.shape[1 : 2 if self.scored else 4]))

    @property
    def rest(self) -> Tensor:
        """The logits without the evidence [L]: the bias, where the map is complete."""
        assert self.evidence is not None
        return self.logits - self.evidence.sum(dim=(1, 2, 3)) / self.scale


class Learner:
    """`network`: its module is trained in place. `with_maps`: whether passes give the evidence.

    `precision`: "fp32", or "bf16" for the trunk, or for all where the network names none.
    """

    def __init__(
        self, network: Network, spec: ModelSpec, device: torch.device, precision: str, *, with_maps: bool
    ) -> None:
        self.network, self.spec, self.device = network, spec, device
        self.feed = Feed.of(spec.preparation, network.inputs)
        self.layer = spec.target_layer or network.target_layer
        self.at = spec.at or network.at
        self.with_maps = with_maps
        self.module = network.module.to(device)
        self._usual_target = (self.layer, self.at) == (network.target_layer, network.at)
        self._layout = torch.preserve_format
        # On a CPU in bf16 only: in float32, training a narrow AxialNet in this layout ends in a segmentation fault
        # (torch 2.13). In bf16 a step takes two thirds of the time.
        if len(network.inputs) == 4 and (device.type == "cuda" or precision == "bf16"):
            self._layout = torch.channels_last
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._target = _find(self.module, self.layer)
        if with_maps and not self._closed_form():
            # Autograd looks at the activation after the pass: nothing may have overwritten it.
            for part in self.module.modules():
                if isinstance(part, nn.ReLU):
                    part.inplace = False
        if precision == "bf16":
            for name in network.trunk or ("",):
                in_half(self.module.get_submodule(name), device)

    @property
    def labels(self) -> int:
        """How many."""
        return len(self.spec.labels)

    @property
    def scored(self) -> bool:
        """Whether the logit is the mean of scores of positions."""
        return self.network.answer == "slice_scores"

    def run(self, voxels: Voxels) -> Pass:
        """A pass over all positions of a scan at once, as training needs it."""
        kept: list[Tensor] = []
        with _capture(self._target, self.at, kept, self.with_maps):
            logits = self._answer(self._values(voxels)).float().mean(dim=0)
        return self._pass(logits, kept)

    def look(self, voxels: Voxels) -> Pass:
        """A pass in evaluation mode, without gradients but those that a map needs, a few positions at a time."""
        if not self.network.by_slices:
            with torch.set_grad_enabled(self.with_maps and not self._closed_form()):
                found = self.run(voxels)
            evidence = None if found.evidence is None else found.evidence.detach()
            return Pass(found.logits.detach(), evidence, self.scored)
        kept: list[Tensor] = []
        values, answers = self._values(voxels), []
        with torch.no_grad(), _capture(self._target, self.at, kept, self.with_maps):
            for some in torch.split(values, _POSITIONS_AT_ONCE):
                answers.append(self._answer(some).float())
        logits = torch.cat(answers).mean(dim=0)
        return self._pass(logits, [torch.cat(kept)] if self.with_maps else [])

    def keep_statistics(self) -> None:
        """Let batch norm use the running statistics that it has, and leave them as they are, also in training."""
        for part in self.module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()

    def grid(self, shape: Shape3, placement: Placement) -> CellGrid:
        """The cells of the target for an input of `shape` voxels: counted by a pass over zeros."""
        small = np.zeros((self.feed.slab, *shape[1:]) if self.network.by_slices else shape, dtype=np.float32)
        kept: list[Tensor] = []
        was = self.module.training
        self.module.eval()
        try:
            with torch.no_grad(), _capture(self._target, self.at, kept, True):
                self._answer(self._values(small))
        finally:
            self.module.train(was)
        found = canonical(kept[0], self.network.activation(self.layer)).shape
        rows = shape[0] // self.feed.slab if self.network.by_slices else found[0]
        cells = (int(rows), int(found[2]), int(found[3]))
        own = self.network.place(self.layer, shape, self.at)
        return CellGrid(cells, stretched(cells, shape) if placement == "stretch" else own.affine())

    def _values(self, voxels: Voxels) -> Tensor:
        positions = torch.from_numpy(np.ascontiguousarray(self.feed.positions(voxels))).to(self.device)
        return self.feed.tensor(positions, self._layout)

    def _pass(self, logits: Tensor, kept: list[Tensor]) -> Pass:
        return Pass(logits, self._evidence(kept, logits) if self.with_maps else None, self.scored)

    def _answer(self, values: Tensor) -> Tensor:
        return self.network.run(self.module, values)

    def _head(self) -> nn.Module | None:
        name = self.network.linear_head
        return None if name is None or not self._usual_target else self.module.get_submodule(name)

    def _closed_form(self) -> bool:
        head = self._head()
        cells = tuple(head.kernel_size) if isinstance(head, nn.Conv2d) else (0, 0)
        return usable_head(head, (int(cells[0]), int(cells[-1])), scored=self.scored) is not None

    def _evidence(self, kept: list[Tensor], logits: Tensor) -> Tensor:
        if len(kept) != 1:
            raise ModelError(
                f"The layer {self.layer!r} is run {len(kept)} times in a pass, so it has no one map.",
                hint="Name a module that is run once in [explanation] target_layer.",
                code="target-layer",
            )
        axes = self.network.activation(self.layer)
        _, _, height, width = canonical(kept[0], axes).shape
        head = usable_head(self._head(), (height, width), scored=self.scored)
        return scaled_map(kept[0], axes, logits, head, scored=self.scored)


class _capture:
    """Context that keeps the outputs (or first inputs) of a layer, with their history."""

    def __init__(self, layer: nn.Module, at: str, kept: list[Tensor], wanted: bool) -> None:
        self._layer, self._at, self._kept, self._wanted = layer, at, kept, wanted

    def __enter__(self) -> None:
        if self._wanted and self._at == "output":
            self._handle = self._layer.register_forward_hook(lambda _m, _i, output: self._kept.append(output))
        elif self._wanted:
            self._handle = self._layer.register_forward_pre_hook(
                lambda _m, given: self._kept.append(given[0])
            )

    def __exit__(self, *_error: object) -> None:
        if self._wanted:
            self._handle.remove()


def in_half(part: nn.Module, device: torch.device) -> None:
    """Let a module compute in bfloat16 where torch finds that safe; what it gives is float32."""
    forward: Callable[..., Tensor] = part.forward

    def cast(*inputs: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            found = forward(*inputs)
        return found.float()

    vars(part)["forward"] = cast


def training_precision(requested: str, device: torch.device) -> str:
    """The precision in effect: "auto" is bf16 on a GPU that has it. Raises UnavailableError for bf16 without."""
    has = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported())
    if requested == "bf16" and not has:
        raise UnavailableError(
            f"The device {device} has no bf16.", hint="Choose --precision fp32.", code="device-unavailable"
        )
    if requested == "auto":
        return "bf16" if has and device.type == "cuda" else "fp32"
    return requested


def _find(module: nn.Module, layer: str) -> nn.Module:
    parts = dict(module.named_modules())
    if not layer or layer not in parts:
        raise ModelError(
            f"The network has no layer {layer!r}.",
            hint="Correct [explanation] target_layer.",
            code="target-layer",
        )
    found: nn.Module = parts[layer]
    return found
