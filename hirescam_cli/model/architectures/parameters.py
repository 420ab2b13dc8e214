"""What architectures share in reading their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hirescam_cli.errors import ModelError


def only(architecture: str, parameters: Mapping[str, object], known: Iterable[str] = ()) -> None:
    """Refuse a parameter that the architecture does not have."""
    names = sorted(known)
    for unknown in sorted(set(parameters) - set(names)):
        raise ModelError(
            f"The architecture {architecture} has no parameter {unknown!r}.",
            hint=f"It has {', '.join(names)}." if names else "Leave [parameters] out.",
            code="model-parameters",
        )


def flat_only(architecture: str, layer: str, target: str, at: str = "output") -> ModelError:
    """The refusal of a layer other than the one whose place is known."""
    return ModelError(
        f"{architecture} has no layer {layer!r} whose cells have a known place.",
        hint=f"Leave --target-layer out: the {at} of {target} is explained.",
        code="target-layer",
    )
