"""What the gradients of one chunk of positions give, by autograd from the target on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hirescam_cli.errors import ModelError, first_line
from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.method import CellMethod, ChannelMethod
from hirescam_cli.explain.shortage import is_out_of_memory
from hirescam_cli.explain.tail import bias_part

if TYPE_CHECKING:
    from hirescam_cli.explain.parts import Parts

LABELS_A_CHUNK = 16


def label_chunks(labels: int) -> Iterator[tuple[int, int]]:
    """The labels a few at a time: from, to."""
    for low in range(0, labels, LABELS_A_CHUNK):
        yield low, min(low + LABELS_A_CHUNK, labels)


def seeds_of(answer: Tensor, weight: float, low: int, high: int) -> Tensor:
    """Gradients [labels, rows, L] of some logits with respect to an answer whose rows count `weight` each."""
    seeds = torch.zeros(high - low, *answer.shape, device=answer.device)
    seeds[torch.arange(high - low), :, torch.arange(low, high)] = weight
    return seeds


def products(
    answer: Tensor, inputs: list[Tensor], seeds: Tensor, *, retain: bool
) -> tuple[Tensor | None, ...]:
    """Vector-Jacobian products [labels, ...] of an answer for each of the `seeds`; None for an input it ignores.

    Together where every operation can be batched, else one after the other. Raises ModelError where autograd cannot.
    """
    if not answer.requires_grad:
        raise ModelError(
            "The network's answer has no gradients.",
            hint="Its code above the target leaves autograd: torch.no_grad(), inference_mode() or detach(). Take that "
            "out, or choose a layer above it (--target-layer).",
            code="gradient-cut",
        )
    try:
        return torch.autograd.grad(
            answer, inputs, seeds, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
    single = []
    for number, seed in enumerate(seeds, 1):
        keep = retain or number < len(seeds)
        try:
            single.append(torch.autograd.grad(answer, inputs, seed, retain_graph=keep, allow_unused=True))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise _no_way_back(error) from error
    return tuple(
        None
        if any(part is None for part in parts)
        else torch.stack([part for part in parts if part is not None])
        for parts in zip(*single, strict=True)
    )


class Gradients:
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
        device = self.answer.device
        maps: dict[str, list[Tensor]] = {}
        shares: dict[str, list[Tensor]] = {}
        for low, high in label_chunks(self.answer.shape[1]):
            seeds = seeds_of(self.answer, self.weight, low, high)
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
        inputs = [self.activation, *([] if repeated else parameters)]
        first, *rest = products(self.answer, inputs, seeds, retain=more or repeated)
        if repeated and parameters:
            # A position that stands for several counts as often in what the biases add.
            weighted = seeds * self.counts.to(seeds.device)[:, None]
            rest = list(products(self.answer, parameters, weighted, retain=more))
        if rest:
            self.biases[low:high] = bias_part(terms, tuple(rest), high - low)
        if first is None:
            raise without_gradient(self.parts.engine.target_layer)
        return canonical(first, self.axes, leading=1)


def _no_way_back(error: Exception) -> ModelError:
    return ModelError(
        f"Gradients of the network's answer cannot be computed: {first_line(error)}",
        hint="Some code above the target refuses it, such as checkpointing with use_reentrant=True or a change in "
        "place of what autograd still needs. Choose a layer above it (--target-layer), or build the network otherwise.",
        code="gradient-cut",
    )


def without_gradient(layer: str) -> ModelError:
    """The refusal of a target that nothing depends on."""
    return ModelError(
        f"No logit depends on the layer {layer!r} by a gradient.",
        hint="Name a layer on the way from the input to the logits (--target-layer).",
        code="target-layer",
    )
