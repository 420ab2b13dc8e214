"""Normalisers held constant: what their divisors and weights are worked out from no longer counts as evidence.

A softmax's weights, or the divisor of a layer, group, instance, RMS or L2 norm, keep their values and lose their
gradients. What is left is linear in the activation, so that a HiResCAM map and the bias part add up to the logit again:
the map then explains the values *given* the attention or the scale. Means that a norm subtracts stay live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# What torch hands to a function mode: arguments of any kind.
Arguments: TypeAlias = tuple[object, ...]
Named: TypeAlias = Mapping[str, object]
Function: TypeAlias = Callable[..., object]


class HeldConstant(TorchFunctionMode):
    """While it is active the normalisers of the kinds `names` are constants; `met`: those that were come across."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names, self.met = frozenset(names), set[str]()

    def __torch_function__(
        self,
        func: Function,
        types: Sequence[type],
        args: Arguments = (),
        kwargs: Named | None = None,
    ) -> object:
        """Call `func`, in its held form if it is a normaliser of a kind that is held."""
        given = dict(kwargs or {})
        kind, held = _HELD.get(func, (None, None))
        if held is None or kind not in self.names or not torch.is_grad_enabled():
            return func(*args, **given)
        answer = held(func, args, given)
        if answer is NotImplemented:
            return func(*args, **given)
        self.met.add(kind)
        return answer


def title(name: str, frozen: Sequence[str]) -> str:
    """The title `name` of a method, with what its maps take as given."""
    if not frozen:
        return name
    given = ["the attention"] if "softmax" in frozen else []
    given += ["the scale of its norms"] if set(frozen) - {"softmax"} else []
    return f"{name} given {' and '.join(given)}"


def _detached(func: Function, args: Arguments, kwargs: Named) -> object:
    return cast(Tensor, func(*args, **kwargs)).detach()


def _input(args: Arguments, kwargs: Named) -> Tensor:
    return cast(Tensor, args[0] if args else kwargs["input"])


def _get(args: Arguments, kwargs: Named, place: int, name: str, default: object = None) -> object:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _scaled(x: Tensor, centred: Tensor, squares: Tensor, eps: float) -> Tensor:
    """`centred` over the root of `squares` + eps, which is a constant."""
    return centred * torch.rsqrt(squares + eps).detach().expand_as(x)


def _affine(x: Tensor, weight: object, bias: object) -> Tensor:
    if isinstance(weight, Tensor):
        x = x * weight
    return x + bias if isinstance(bias, Tensor) else x


def _layer_norm(_func: Function, args: Arguments, kwargs: Named) -> Tensor:
    x = _input(args, kwargs)
    shape = cast(Sequence[int], _get(args, kwargs, 1, "normalized_shape"))
    axes = tuple(range(-len(tuple(shape)), 0))
    centred = x - x.mean(dim=axes, keepdim=True)
    eps = cast(float, _get(args, kwargs, 4, "eps", 1e-5))
    scaled = _scaled(x, centred, centred.square().mean(dim=axes, keepdim=True), eps)
    return _affine(scaled, _get(args, kwargs, 2, "weight"), _get(args, kwargs, 3, "bias"))


def _rms_norm(_func: Function, args: Arguments, kwargs: Named) -> Tensor:
    x = _input(args, kwargs)
    shape = cast(Sequence[int], _get(args, kwargs, 1, "normalized_shape"))
    axes = tuple(range(-len(tuple(shape)), 0))
    eps = _get(args, kwargs, 3, "eps")
    smallest = torch.finfo(x.dtype).eps if eps is None else cast(float, eps)
    scaled = _scaled(x, x, x.square().mean(dim=axes, keepdim=True), smallest)
    return _affine(scaled, _get(args, kwargs, 2, "weight"), None)


def _by_channel(value: object, x: Tensor) -> object:
    return value.reshape(1, -1, *[1] * (x.ndim - 2)) if isinstance(value, Tensor) else value


def _grouped(x: Tensor, groups: int, weight: object, bias: object, eps: float) -> Tensor:
    parts = x.reshape(x.shape[0], groups, -1)
    centred = parts - parts.mean(dim=2, keepdim=True)
    scaled = _scaled(parts, centred, centred.square().mean(dim=2, keepdim=True), eps).reshape(x.shape)
    return _affine(scaled, _by_channel(weight, x), _by_channel(bias, x))


def _group_norm(_func: Function, args: Arguments, kwargs: Named) -> Tensor:
    groups = cast(int, _get(args, kwargs, 1, "num_groups"))
    eps = cast(float, _get(args, kwargs, 4, "eps", 1e-5))
    return _grouped(
        _input(args, kwargs), groups, _get(args, kwargs, 2, "weight"), _get(args, kwargs, 3, "bias"), eps
    )


def _instance_norm(_func: Function, args: Arguments, kwargs: Named) -> object:
    x = _input(args, kwargs)
    if not _get(args, kwargs, 5, "use_input_stats", True):
        return NotImplemented
    eps = cast(float, _get(args, kwargs, 7, "eps", 1e-5))
    return _grouped(x, x.shape[1], _get(args, kwargs, 3, "weight"), _get(args, kwargs, 4, "bias"), eps)


def _normalize(_func: Function, args: Arguments, kwargs: Named) -> Tensor:
    x = _input(args, kwargs)
    order = cast(float, _get(args, kwargs, 1, "p", 2.0))
    axis = cast(int, _get(args, kwargs, 2, "dim", 1))
    eps = cast(float, _get(args, kwargs, 3, "eps", 1e-12))
    norm: Tensor = torch.linalg.vector_norm(x.detach(), order, dim=axis, keepdim=True)
    return x / norm.clamp_min(eps)


def _attention(_func: Function, args: Arguments, kwargs: Named) -> Tensor:
    """Scaled dot-product attention with weights that are constants."""
    query, key, value = (
        cast(Tensor, _get(args, kwargs, n, name)) for n, name in enumerate(["query", "key", "value"])
    )
    scale = cast(float | None, kwargs.get("scale")) or query.shape[-1] ** -0.5
    if kwargs.get("enable_gqa"):
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    products = query.detach() @ key.detach().transpose(-2, -1) * scale
    mask = _get(args, kwargs, 3, "attn_mask")
    if _get(args, kwargs, 5, "is_causal", False):
        mask = torch.ones(products.shape[-2:], dtype=torch.bool, device=products.device).tril()
    if isinstance(mask, Tensor):
        products = products.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else products + mask
    return products.softmax(dim=-1) @ value


def _multi_head(func: Function, args: Arguments, kwargs: Named) -> object:
    """torch's multi-head attention: its weights by torch itself, then the values' way with gradients."""
    if cast(Tensor, args[0]).ndim == 2:
        return _without_batch(func, args, kwargs)
    settings = {**kwargs, "need_weights": True, "average_attn_weights": False}
    with torch.no_grad():
        _, found = cast(tuple[Tensor, Tensor], func(*args[:15], **settings))
    value, width, heads = cast(tuple[Tensor, int, int], (args[2], args[3], args[4]))
    if found.shape[-1] != len(value):
        # Keys and values of the module's own are added: nothing is held, as the map's certificate will tell.
        return NotImplemented
    weight, bias = args[5], args[6]
    if kwargs.get("use_separate_proj_weight"):
        own = cast(Tensor, kwargs["v_proj_weight"])
    else:
        own = cast(Tensor, weight)[2 * width :]
    added = bias[2 * width :] if isinstance(bias, Tensor) else None
    values = functional.linear(value, own, added)
    length, batch = values.shape[0], values.shape[1]
    by_head = values.reshape(length, batch * heads, width // heads).transpose(0, 1)
    mixed = found.reshape(batch * heads, found.shape[-2], length) @ by_head
    joined = mixed.transpose(0, 1).reshape(found.shape[-2], batch, width)
    answer = functional.linear(joined, cast(Tensor, args[11]), cast(Tensor | None, args[12]))
    weights = found.mean(dim=1) if kwargs.get("average_attn_weights", True) else found
    return answer, (weights if kwargs.get("need_weights", True) else None)


def _without_batch(func: Function, args: Arguments, kwargs: Named) -> object:
    """The same of tokens [length, width] that have no batch axis."""
    tokens = [cast(Tensor, value).unsqueeze(1) for value in args[:3]]
    padding = kwargs.get("key_padding_mask")
    masked = {"key_padding_mask": padding.unsqueeze(0)} if isinstance(padding, Tensor) else {}
    found = _multi_head(func, (*tokens, *args[3:]), {**kwargs, **masked})
    if found is NotImplemented:
        return found
    answer, weights = cast(tuple[Tensor, Tensor | None], found)
    return answer.squeeze(1), (None if weights is None else weights.squeeze(0))


# The held form of a call; NotImplemented where there is none of it.
Held: TypeAlias = Callable[[Function, Arguments, dict[str, object]], object]

_HELD: Mapping[Function, tuple[str, Held]] = {
    **dict.fromkeys((functional.softmax, torch.softmax, Tensor.softmax), ("softmax", _detached)),
    functional.scaled_dot_product_attention: ("softmax", _attention),
    functional.multi_head_attention_forward: ("softmax", _multi_head),
    **dict.fromkeys((functional.layer_norm, torch.layer_norm), ("layer-norm", _layer_norm)),
    **dict.fromkeys((functional.rms_norm, torch.rms_norm), ("rms-norm", _rms_norm)),
    **dict.fromkeys((functional.group_norm, torch.group_norm), ("group-norm", _group_norm)),
    functional.instance_norm: ("instance-norm", _instance_norm),
    functional.normalize: ("l2-norm", _normalize),
    **dict.fromkeys(
        (torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm), ("l2-norm", _detached)
    ),
}
