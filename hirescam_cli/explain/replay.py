"""The part of a network above its target, run again from other activations without its trunk.

A pass through the network tells which modules are called before the target; when it is run again they answer at once,
with nothing in the shape of what they gave, and the target gives the activation that is asked about. Where a logit
depends on something beside the target that this leaves out, a replay of the scan's own activation shows it; then the
modules answer with what they really gave, and if that does not help either, replays are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees
from torch.utils.hooks import RemovableHandle

from hirescam_cli.errors import ModelError
from hirescam_cli.explain.shortage import is_out_of_memory

Answer: TypeAlias = Callable[[], Tensor]
# A module's own: what it takes is nobody's business here.
Forward: TypeAlias = Callable[..., object]
_TOLERANCE = 1e-4


class _Blank:
    """The shape of a tensor that is not kept."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype, self.device = tensor.shape, tensor.dtype, tensor.device

    def tensor(self) -> Tensor:
        """Zeros of that shape, in the memory of one."""
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(self.shape)


class Replay:
    """Runs what follows a target again. `network`: an own copy; `target`, `at`: its name and which end of it."""

    def __init__(self, network: nn.Module, target: str, at: str) -> None:
        self.target, self.at = target, at
        self._layer = network.get_submodule(target)
        chain, part = [network], network
        for name in target.split(".")[:-1]:
            part = part.get_submodule(name)
            chain.append(part)
        above = [*chain, self._layer]
        self._beside = [
            child
            for parent in chain
            for child in dict.fromkeys(parent.children())
            if not any(child is other for other in above)
        ]
        self._given: dict[nn.Module, list[object]] = {}
        self.keeping = False

    @contextmanager
    def recording(self) -> Iterator[None]:
        """During one pass, learn what is called before the target."""
        given: dict[nn.Module, list[object]] = {}
        reached: list[bool] = []

        def after(module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
            if not reached:
                given.setdefault(module, []).append(self._noted(output))

        def at_target(*_: object) -> None:
            reached.append(True)

        handles = [module.register_forward_hook(after) for module in self._beside]
        register = (
            self._layer.register_forward_hook
            if self.at == "output"
            else self._layer.register_forward_pre_hook
        )
        handles.append(register(at_target))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._given = given

    def _noted(self, output: object) -> object:
        def note(value: object) -> object:
            if not isinstance(value, Tensor):
                return value
            return value.detach().clone() if self.keeping else _Blank(value)

        return trees.tree_map(note, output)

    @contextmanager
    def instead(self, activation: Tensor) -> Iterator[None]:
        """While this lasts, the target has `activation` and what comes before it is not computed."""
        before: dict[nn.Module, object] = {}
        handles: list[RemovableHandle] = []

        def replace(module: nn.Module, answers: _Answers) -> None:
            before[module] = vars(module).get("forward")
            vars(module)["forward"] = answers.forward
            # What hooks of the module's own make of an answer is part of it already.
            handles.append(module.register_forward_hook(answers.again))

        def from_target(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (activation.clone(), *inputs[1:])

        if self.at == "output":
            replace(self._layer, _Answers(self._layer, lambda _: activation.clone()))
        else:
            handles.append(self._layer.register_forward_pre_hook(from_target))
        for module, outputs in self._given.items():
            replace(module, _recorded(module, outputs))
        try:
            yield
        finally:
            for module, forward in before.items():
                vars(module).pop("forward")
                if forward is not None:
                    vars(module)["forward"] = forward
            for handle in handles:
                handle.remove()

    def check(self, answer: Answer, activation: Tensor, expected: Tensor, run_again: Answer) -> None:
        """Make sure that a replay of the target's own activation gives the network's own answer.

        `answer`: calls the network; `run_again`: the same, to keep what the modules really give. Raises ModelError.
        """
        if self._same(answer, activation, expected):
            return
        self.keeping = True
        with self.recording(), torch.no_grad():
            run_again()
        if not self._same(answer, activation, expected):
            raise ModelError(
                f"What follows {self.target!r} cannot be run again by itself: it does not give the same logits.",
                hint="Use the methods that need no replay: hirescam, gradcam, xgradcam, layercam.",
                code="method-unavailable",
            )

    def _same(self, answer: Answer, activation: Tensor, expected: Tensor) -> bool:
        try:
            with torch.no_grad(), self.instead(activation.detach()):
                found = answer().float()
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False
        scale = float(expected.abs().max()) + 1.0
        return found.shape == expected.shape and float((found - expected).abs().max()) <= _TOLERANCE * scale


class _Answers:
    """A forward of `module` that gives `given(n)` the nth time, for `count` times, and then computes again."""

    def __init__(self, module: nn.Module, given: Callable[[int], object], count: float = inf) -> None:
        self._forward, self._given, self._count = cast(Forward, module.forward), given, count
        self._number, self._computed = 0, False

    def forward(self, *inputs: object, **named: object) -> object:
        """In place of the module's own."""
        self._computed = self._number >= self._count
        return self._forward(*inputs, **named) if self._computed else self._given(self._number)

    def again(self, _module: nn.Module, _inputs: object, output: object) -> object:
        """Behind all hooks of the module."""
        if self._computed:
            return output
        self._number += 1
        return self._given(self._number - 1)


def _recorded(module: nn.Module, outputs: list[object]) -> _Answers:
    """Those that give what was recorded, one after the other."""

    def given(number: int) -> object:
        return trees.tree_map(
            lambda value: value.tensor() if isinstance(value, _Blank) else value, outputs[number]
        )

    return _Answers(module, given, len(outputs))
