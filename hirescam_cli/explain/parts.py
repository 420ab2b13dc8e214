"""The parts of one scan's explanation, as its positions go through the network, and how they are put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.head import LinearHead, linear_head
from hirescam_cli.explain.method import CellMethod, ChannelMethod, Method
from hirescam_cli.explain.methods.gradcam import weighted_sum
from hirescam_cli.explain.passes import captured
from hirescam_cli.explain.shortage import is_out_of_memory
from hirescam_cli.explain.tail import bias_part
from hirescam_cli.geometry.types import Voxels

if TYPE_CHECKING:
    from hirescam_cli.explain.engine import Engine

LABELS_A_CHUNK = 16


class Parts:
    """Collects the chunks of one scan; `multiplicity` [u]: how often each of the positions computed stands in it."""

    def __init__(self, engine: Engine, multiplicity: NDArray[np.int64], methods: Sequence[Method]) -> None:
        self.engine, self.methods = engine, methods
        self.positions = int(multiplicity.sum())
        self.begin, self.explaining = time.perf_counter(), 0.0
        self.multiplicity = torch.from_numpy(multiplicity).to(torch.float32)
        self.answers: list[Tensor] = []
        self.activations: list[Tensor] = []
        self.maps: dict[str, list[Tensor]] = {method.name: [] for method in methods}
        self.shares: dict[str, Tensor] = {}
        self.biases: Tensor | None = None

    def run(self, positions: Voxels, computed: NDArray[np.int64]) -> None:
        """Take the positions `computed` through the network, chunk by chunk if they are independent."""
        if not self.engine.contract.by_slices:
            self._chunk(positions, computed, 0)
            return
        start = 0
        while start < len(computed):
            chunk = self.engine.chunk
            try:
                self._chunk(positions, computed[start : start + chunk], start)
            except (RuntimeError, MemoryError) as error:
                if chunk == 1 or not is_out_of_memory(error):
                    raise
            else:
                start += chunk
                continue
            # Only here, after the exception is gone, does nothing hold what the chunk had allocated.
            self.engine.chunk = chunk // 2
            torch.cuda.empty_cache()

    def _chunk(self, positions: Voxels, some: NDArray[np.int64], start: int) -> None:
        engine = self.engine
        leaf = not engine.closed_form
        with captured(engine.layer, engine.at, leaf=leaf) as kept:
            answer = engine.answer(engine.values(positions, some)).float()
            activation = _only(kept, engine.target_layer)
            axes = engine.contract.activation(engine.target_layer)
            if not leaf:
                self.answers.append(answer)
                self.activations.append(canonical(activation, axes).float())
                return
            engine.synchronize()
            begin = time.perf_counter()
            found = _Gradients(self, answer, activation, axes, start)
            found.take()
            self.explaining += time.perf_counter() - begin
        # Only a chunk that came through whole counts: one that ran out of memory is computed again.
        self.answers.append(answer.detach())
        self.activations.append(found.values.cpu())
        for name, maps in found.maps.items():
            self.maps[name].append(maps.cpu())
        for name, share in found.shares.items():
            self.shares[name] = self.shares[name] + share if name in self.shares else share
        self.biases = found.biases if self.biases is None else self.biases + found.biases

    def result(self, place: Tensor) -> Explanation:
        """Put the chunks together; `place` [n] is each position's index among the computed ones."""
        engine = self.engine
        answers = torch.cat(self.answers).cpu()
        if engine.contract.by_slices:
            answers = answers[place]
        middle = time.perf_counter()
        if not torch.isfinite(answers).all():
            raise HirescamError(
                f"The network answered with values that are not finite (precision {engine.precision}).",
                hint="Run again with --precision fp32; if it stays, the weights overflow on this scan.",
                code="not-finite",
                stage="network",
            )
        activations = torch.cat(self.activations)
        if engine.closed_form:
            head = self._head(activations)
            biases = head.bias.double()
            cams = {method.name: self._linear(method, activations, head) for method in self.methods}
        else:
            biases = torch.zeros(answers.shape[1]) if self.biases is None else self.biases
            cams = {method.name: self._collected(method, activations) for method in self.methods}
        by_slices = engine.contract.by_slices
        scored = engine.contract.answer == "slice_scores"
        return Explanation(
            cams={
                name: (maps.cpu()[:, place] if by_slices else maps.cpu()).contiguous().numpy()
                for name, maps in cams.items()
            },
            logits=answers.double().mean(dim=0).numpy(),
            biases=biases.double().numpy(),
            slice_scores=answers.T.contiguous().numpy() if scored else None,
            target_layer=engine.target_layer,
            at=engine.at,
            fallbacks=engine.smaller_chunks(),
            seconds={
                "network": middle - self.begin - self.explaining,
                "explain": time.perf_counter() - middle + self.explaining,
            },
        )

    def _head(self, activations: Tensor) -> LinearHead:
        contract = self.engine.contract
        assert contract.linear_head is not None
        cells = (activations.shape[2], activations.shape[3])
        head = linear_head(self.engine.network.get_submodule(contract.linear_head), cells)
        if head is None:
            raise ModelError(
                f"{contract.linear_head} does not cover the {cells[0]} x {cells[1]} cells of {contract.target_layer}.",
                hint="Correct the architecture's description of its linear head, or the preparation's shape.",
                code="model-parameters",
            )
        return head

    def _linear(self, method: Method, activations: Tensor, head: LinearHead) -> Tensor:
        """Maps where the head is linear: by the method's closed form, else from the gradients that it gives."""
        count = self.positions if self.engine.contract.by_slices else len(activations)
        if method.linear is not None:
            return method.linear(activations, head.weight, count)
        counts = self.multiplicity if self.engine.contract.by_slices else torch.ones(len(activations))
        maps, shares = [], []
        for low in range(0, len(head.weight), LABELS_A_CHUNK):
            gradients = (head.weight[low : low + LABELS_A_CHUNK, None] / count).expand(
                -1, len(activations), -1, -1, -1
            )
            if isinstance(method, CellMethod):
                maps.append(method.maps(activations, gradients))
            elif isinstance(method, ChannelMethod):
                cells = count * activations.shape[2] * activations.shape[3]
                shares.append(method.share(activations, gradients, counts.to(activations.device), cells))
        if isinstance(method, ChannelMethod):
            return weighted_sum(activations, method.weights(torch.cat(shares, dim=-2)))
        return torch.cat(maps)

    def _collected(self, method: Method, activations: Tensor) -> Tensor:
        if isinstance(method, ChannelMethod):
            return weighted_sum(activations, method.weights(self.shares[method.name].cpu()))
        return torch.cat(self.maps[method.name], dim=1)


class _Gradients:
    """What the gradients of one chunk give: maps [L, n, y, x] and shares [..., L, C] by method, biases [L]."""

    def __init__(self, parts: Parts, answer: Tensor, activation: Tensor, axes: str, start: int) -> None:
        self.parts, self.answer, self.activation, self.axes = parts, answer, activation, axes
        self.values = canonical(activation.detach(), axes).float()
        by_slices = parts.engine.contract.by_slices
        rows, count = len(answer), len(self.values)
        self.counts = parts.multiplicity[start : start + count] if by_slices else torch.ones(count)
        self.weight = 1.0 / (parts.positions if by_slices else rows)
        self.total = (parts.positions if by_slices else count) * self.values.shape[2] * self.values.shape[3]
        self.maps: dict[str, Tensor] = {}
        self.shares: dict[str, Tensor] = {}
        self.biases = torch.zeros(answer.shape[1], dtype=torch.float64)

    def take(self) -> None:
        """Take them, for a few labels at a time."""
        labels, device = self.answer.shape[1], self.answer.device
        maps: dict[str, list[Tensor]] = {}
        shares: dict[str, list[Tensor]] = {}
        for low in range(0, labels, LABELS_A_CHUNK):
            high = min(low + LABELS_A_CHUNK, labels)
            seeds = torch.zeros(high - low, *self.answer.shape, device=device)
            seeds[torch.arange(high - low), :, torch.arange(low, high)] = self.weight
            gradients = self._gradients(seeds, low, high).float()
            for method in self.parts.methods:
                if isinstance(method, CellMethod):
                    maps.setdefault(method.name, []).append(method.maps(self.values, gradients))
                elif isinstance(method, ChannelMethod):
                    share = method.share(self.values, gradients, self.counts.to(device), self.total)
                    shares.setdefault(method.name, []).append(share)
        self.maps = {name: torch.cat(found) for name, found in maps.items()}
        self.shares = {name: torch.cat(found, dim=-2) for name, found in shares.items()}

    def _gradients(self, seeds: Tensor, low: int, high: int) -> Tensor:
        """Gradients [labels, n, C, y, x] of the target; those of biases are summed up on the way."""
        terms = self.parts.engine.bias_terms
        parameters = [term.parameter for term in terms]
        repeated = bool((self.counts != 1).any())
        more = high < self.answer.shape[1]
        first, *rest = torch.autograd.grad(
            self.answer,
            [self.activation, *([] if repeated else parameters)],
            seeds,
            retain_graph=more or repeated,
            is_grads_batched=True,
            allow_unused=True,
        )
        if repeated and parameters:
            # A position that stands for several counts as often in what the biases add.
            weighted = seeds * self.counts.to(seeds.device)[:, None]
            rest = list(
                torch.autograd.grad(
                    self.answer,
                    parameters,
                    weighted,
                    retain_graph=more,
                    is_grads_batched=True,
                    allow_unused=True,
                )
            )
        if rest:
            self.biases[low:high] = bias_part(terms, tuple(rest), high - low)
        if first is None:
            raise _without_gradient(self.parts.engine.target_layer)
        return canonical(first, self.axes, leading=1)


def _only(kept: list[Tensor], layer: str) -> Tensor:
    if len(kept) != 1:
        times = "never" if not kept else f"{len(kept)} times"
        raise ModelError(
            f"The layer {layer!r} is run {times} in a pass, so it has no one activation to explain.",
            hint="Name a module that is run once, such as the block around it (--target-layer).",
            code="target-layer",
        )
    return kept[0]


def _without_gradient(layer: str) -> ModelError:
    return ModelError(
        f"No logit depends on the layer {layer!r} by a gradient.",
        hint="Name a layer on the way from the input to the logits (--target-layer).",
        code="target-layer",
    )
