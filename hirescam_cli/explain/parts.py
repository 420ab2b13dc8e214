"""The parts of one scan's explanation, as its positions go through the network, and how they are put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hirescam_cli.errors import HirescamError, ModelError
from hirescam_cli.explain.explanation import Explanation
from hirescam_cli.explain.feed import canonical
from hirescam_cli.explain.gradients import Gradients, label_chunks
from hirescam_cli.explain.head import LinearHead, linear_head
from hirescam_cli.explain.method import AblationMethod, CellMethod, ChannelMethod, Method, PathMethod
from hirescam_cli.explain.methods.gradcam import weighted_sum
from hirescam_cli.explain.passes import captured
from hirescam_cli.explain.replay import Replay
from hirescam_cli.explain.replayed import Baseline, Chunk, Replayed
from hirescam_cli.explain.shortage import is_out_of_memory
from hirescam_cli.geometry.types import Voxels

if TYPE_CHECKING:
    from hirescam_cli.explain.engine import Engine


class Parts:
    """Collects the chunks of one scan; `multiplicity` [u]: how often each of the positions computed stands in it."""

    def __init__(
        self,
        engine: Engine,
        multiplicity: NDArray[np.int64],
        methods: Sequence[Method],
        baseline: Baseline | None = None,
    ) -> None:
        self.engine, self.methods, self.baseline = engine, methods, baseline
        self.positions = int(multiplicity.sum())
        self.begin, self.explaining = time.perf_counter(), 0.0
        self.multiplicity = torch.from_numpy(multiplicity).to(torch.float32)
        self.answers: list[Tensor] = []
        self.activations: list[Tensor] = []
        self.maps: dict[str, list[Tensor]] = {method.name: [] for method in methods}
        self.shares: dict[str, Tensor] = {}
        self.without: Tensor | None = None
        self.biases: Tensor | None = None
        asks = any(isinstance(method, PathMethod | AblationMethod) for method in methods)
        self.replay = (
            Replay(engine.network, engine.target_layer, engine.at)
            if asks and not engine.closed_form
            else None
        )

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
        axes = engine.contract.activation(engine.target_layer)
        values = engine.values(positions, some)
        if engine.closed_form:
            answer, activation = engine.seen(values)
            self.answers.append(answer)
            self.activations.append(canonical(activation, axes).float())
            return
        recording = nullcontext() if self.replay is None else self.replay.recording()
        with captured(engine.layer, engine.at, leaf=True) as kept, recording:
            with engine.holding():
                answer = engine.answer(values).float()
            activation = only(kept, engine.target_layer)
            engine.synchronize()
            begin = time.perf_counter()
            found = Gradients(self, answer, activation, axes, start)
            found.take()
        asked = self._replayed(found, values, activation)
        self.explaining += time.perf_counter() - begin
        # Only a chunk that came through whole counts: one that ran out of memory is computed again.
        self.answers.append(answer.detach())
        self.activations.append(found.values.cpu())
        for name, maps in {**found.maps, **asked.maps}.items():
            self.maps[name].append(maps.cpu())
        for name, share in found.shares.items():
            self.shares[name] = self.shares[name] + share if name in self.shares else share
        if asked.without is not None:
            self.without = asked.without if self.without is None else self.without + asked.without
        self.biases = found.biases if self.biases is None else self.biases + found.biases

    def _replayed(self, found: Gradients, values: Tensor, activation: Tensor) -> Replayed:
        """What the methods say that ask again; nothing where there are none."""
        answer = found.answer.detach()
        counts = found.counts if self.engine.contract.by_slices else torch.ones(len(answer))
        chunk = Chunk(values, activation.detach(), answer, counts, found.weight)
        replay = self.replay or Replay(self.engine.network, self.engine.target_layer, self.engine.at)
        asked = Replayed(self, replay, chunk)
        if self.replay is not None:
            asked.take()
        return asked

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
        logits = answers.double().mean(dim=0)
        if engine.closed_form:
            head = self._head(activations)
            biases = head.bias.double()
            cams = {method.name: self._linear(method, activations, head, logits) for method in self.methods}
        else:
            biases = torch.zeros(answers.shape[1]) if self.biases is None else self.biases
            cams = {method.name: self._collected(method, activations, logits) for method in self.methods}
        by_slices = engine.contract.by_slices
        scored = engine.contract.answer == "slice_scores"
        blank = None if self.baseline is None else self.baseline.logits.double().cpu().numpy()
        return Explanation(
            cams={
                name: (maps.cpu()[:, place] if by_slices else maps.cpu()).float().contiguous().numpy()
                for name, maps in cams.items()
            },
            logits=logits.numpy(),
            biases=biases.double().numpy(),
            own_biases={
                method.name: blank
                for method in self.methods
                if isinstance(method, PathMethod) and blank is not None
            },
            frozen=engine.frozen,
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
        module = self.engine.network.get_submodule(contract.linear_head)
        head = linear_head(module, activations.shape[1], cells)
        if head is None:
            raise ModelError(
                f"{contract.linear_head} does not cover the {cells[0]} x {cells[1]} cells of {contract.target_layer} "
                f"({activations.shape[1]} channels).",
                hint="Correct the architecture's description of its linear head, or the preparation's shape.",
                code="model-parameters",
            )
        return head

    def _linear(self, method: Method, activations: Tensor, head: LinearHead, logits: Tensor) -> Tensor:
        """Maps where the head is linear: by the method's closed form, else from the gradients that it gives."""
        by_slices = self.engine.contract.by_slices
        count = self.positions if by_slices else len(activations)
        if isinstance(method, PathMethod):
            assert self.baseline is not None
            axes = self.engine.contract.activation(self.engine.target_layer)
            activations = activations - canonical(self.baseline.activation, axes).float()
        if method.linear is not None:
            return method.linear(activations, head.weight, count)
        counts = (self.multiplicity if by_slices else torch.ones(len(activations))).to(activations.device)
        if isinstance(method, AblationMethod):
            by_channel = torch.einsum("n,ncyx->cyx", counts, activations)
            lost = torch.einsum("cyx,lcyx->lc", by_channel, head.weight).double().cpu() / count
            return self._weighted(method, activations, logits, logits[:, None] - lost)
        maps, shares = [], []
        for low, high in label_chunks(len(head.weight)):
            gradients = (head.weight[low:high, None] / count).expand(-1, len(activations), -1, -1, -1)
            if isinstance(method, CellMethod | PathMethod):
                maps.append(method.maps(activations, gradients))
            elif isinstance(method, ChannelMethod):
                cells = count * activations.shape[2] * activations.shape[3]
                shares.append(method.share(activations, gradients, counts, cells))
        if isinstance(method, ChannelMethod):
            return weighted_sum(activations, method.weights(torch.cat(shares, dim=-2)))
        return torch.cat(maps)

    def _collected(self, method: Method, activations: Tensor, logits: Tensor) -> Tensor:
        if isinstance(method, ChannelMethod):
            return weighted_sum(activations, method.weights(self.shares[method.name].cpu()))
        if isinstance(method, AblationMethod):
            assert self.without is not None
            return self._weighted(method, activations, logits, self.without.double().cpu())
        return torch.cat(self.maps[method.name], dim=1)

    def _weighted(
        self, method: AblationMethod, activations: Tensor, logits: Tensor, without: Tensor
    ) -> Tensor:
        weights = method.weights(logits, without).to(activations.dtype).to(activations.device)
        return weighted_sum(activations, weights)


def only(kept: list[Tensor], layer: str) -> Tensor:
    """The one activation that a pass gave. Raises ModelError for none or several."""
    if len(kept) != 1:
        times = "never" if not kept else f"{len(kept)} times"
        raise ModelError(
            f"The layer {layer!r} is run {times} in a pass, so it has no one activation to explain.",
            hint="Name a module that is run once, such as the block around it (--target-layer).",
            code="target-layer",
        )
    return kept[0]
