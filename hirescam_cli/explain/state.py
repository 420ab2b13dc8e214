"""What a forward may leave behind in a network (buffers, counters, caches), and how it is taken back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

_Container: TypeAlias = dict[object, object] | list[object] | set[object]
# Where torch keeps its own, all of it by reference; `forward` is exchanged while a replay lasts.
_TORCHS = frozenset(vars(nn.Module())) - {"_buffers", "_parameters", "training"} | {"forward"}


class State:
    """That of `module` when this was made. `but`: classes of modules that keep what they learn."""

    def __init__(self, module: nn.Module, but: tuple[type[nn.Module], ...] = ()) -> None:
        self._parts = [
            (part, _attributes(part)) for part in module.modules() if not but or not isinstance(part, but)
        ]
        self._containers: list[tuple[_Container, _Container]] = [
            (value, copy.copy(value))
            for _, attributes in self._parts
            for value in attributes.values()
            if isinstance(value, dict | list | set) and type(value) in (dict, list, set)
        ]
        self._tensors = {
            id(value): (value, value._version, value.detach().clone())
            for value in self._values()
            if not isinstance(value, nn.Parameter) and not value.is_inference()
        }

    def _values(self) -> Iterator[Tensor]:
        for _, attributes in self._parts:
            yield from (value for value in attributes.values() if isinstance(value, Tensor))
        for _, held in self._containers:
            values = held.values() if isinstance(held, dict) else held
            yield from (value for value in values if isinstance(value, Tensor))

    def restore(self) -> bool:
        """Put back what is no longer as it was; whether there was anything.

        A tensor that was overwritten is replaced by a new one: gradients may still need what it holds now.
        """
        fresh = {
            key: first.clone()
            for key, (value, version, first) in self._tensors.items()
            if value._version != version
        }
        changed = bool(fresh)
        for part, attributes in self._parts:
            changed |= _put_back(part, attributes)
        for value, held in self._containers:
            if not _same(value, held):
                changed = True
                _refill(value, held)
        if fresh:
            self._exchange(fresh)
        return changed

    def _exchange(self, fresh: dict[int, Tensor]) -> None:
        for part, attributes in self._parts:
            for name, value in attributes.items():
                if id(value) in fresh:
                    attributes[name] = vars(part)[name] = fresh[id(value)]
        for value, held in self._containers:
            if isinstance(held, dict):
                held.update({name: fresh[id(one)] for name, one in held.items() if id(one) in fresh})
            elif isinstance(held, list):
                held[:] = [fresh.get(id(one), one) for one in held]
            _refill(value, held)
        for key, tensor in fresh.items():
            _, _, first = self._tensors.pop(key)
            self._tensors[id(tensor)] = (tensor, tensor._version, first)


@contextmanager
def as_it_was(module: nn.Module) -> Iterator[None]:
    """A borrowed module in evaluation mode, without gradients; afterwards it is as it was before."""
    state = State(module)
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        state.restore()


def _attributes(part: nn.Module) -> dict[str, object]:
    """What a module holds of its own; functions are code, not state."""
    return {
        name: value
        for name, value in vars(part).items()
        if name not in _TORCHS and (isinstance(value, Tensor) or not callable(value))
    }


def _put_back(part: nn.Module, attributes: dict[str, object]) -> bool:
    now = _attributes(part)
    for name in now.keys() - attributes.keys():
        del vars(part)[name]
    other = {name: value for name, value in attributes.items() if now.get(name) is not value}
    vars(part).update(other)
    return bool(other) or now.keys() != attributes.keys()


def _same(value: object, held: object) -> bool:
    """Whether a container holds the very objects that it held."""
    if isinstance(value, dict) and isinstance(held, dict):
        return value.keys() == held.keys() and all(value[name] is one for name, one in held.items())
    if isinstance(value, list) and isinstance(held, list):
        return len(value) == len(held) and all(a is b for a, b in zip(value, held, strict=True))
    return value == held


def _refill(value: object, held: object) -> None:
    if isinstance(value, dict) and isinstance(held, dict):
        if list(value) != list(held) or not _same(value, held):
            value.clear()
            value.update(held)
    elif isinstance(value, list) and isinstance(held, list):
        value[:] = held
    elif isinstance(value, set) and isinstance(held, set):
        value.clear()
        value.update(held)
