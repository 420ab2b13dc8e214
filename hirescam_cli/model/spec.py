"""The description of a model: what a TOML file says, checked, without torch.

`load_spec("demo")` finds an embedded description, `load_spec("my-model.toml")` a file. Every refusal is a
`ModelError` that names the file, the key, the offending value and what was expected.
"""

from __future__ import annotations

import math
import tomllib
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hirescam_cli.errors import ModelError
from hirescam_cli.options import Placement, is_label_name
from hirescam_cli.resources import config_names, config_path, resource_root

PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, invisible and bidirectional marks, line breaks
_TOP_KEYS = frozenset(
    {"name", "description", "intended_use", "architecture", "demonstration", "parameters"}
    | {"weights", "labels", "preparation", "explanation"}
)
_PREPARATION_KEYS = frozenset(
    (
        "spacing_mm",
        "interpolation",
        "hu_clip",
        "slices",
        "side",
        "hu_window",
        "subtract",
        "padding",
        "centring",
    )
)


@dataclass(frozen=True)
class Preparation:
    """How a volume becomes a network input.

    Axes are z (superior to inferior), y (anterior to posterior), x (patient right to left).
    `spacing_mm` (z, y, x) to which the volume is resampled by `interpolation` ("bspline" or "linear");
    `hu_clip`: limits applied after resampling, before rounding to whole HU; `slices`, `side`: size after
    padding with `padding` ("minimum" of the volume) and cropping about the centre; `hu_window`: HU mapped to
    0 .. 1 and clamped; `subtract`: then taken off.
    """

    spacing_mm: tuple[float, float, float]
    slices: int
    side: int
    hu_window: tuple[float, float]
    hu_clip: tuple[float, float] = (-1000.0, 1000.0)
    subtract: float = 0.449
    interpolation: Literal["bspline", "linear"] = "bspline"
    padding: Literal["minimum"] = "minimum"
    centring: Literal["centre"] = "centre"

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Voxels of the network's input volume along z, y, x."""
        return (self.slices, self.side, self.side)


@dataclass(frozen=True)
class ModelSpec:
    """A model's description. `thresholds` holds one probability per label, in the order of `labels`."""

    name: str
    description: str
    intended_use: str
    architecture: str
    parameters: Mapping[str, Any]
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    preparation: Preparation
    target_layer: str
    placement: Placement
    weights_file: Path | None = None
    weights_sha256: str | None = None
    demonstration: bool = False
    source: Path | None = field(default=None, compare=False)


def list_specs() -> list[ModelSpec]:
    """The embedded models, by name."""
    return [load_spec(name) for name in config_names()]


def load_spec(name_or_file: str) -> ModelSpec:
    """Read and check a description by embedded name or by the path of a `.toml` file."""
    path = _locate(name_or_file)
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path.name} is not a model description: {error}.",
            hint="A model is a UTF-8 TOML file; `hirescam model show demo --toml` prints an example.",
            code="model-toml",
        ) from error
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}.", code="model-toml") from error
    return _Reader(path).spec(data)


def _locate(name_or_file: str) -> Path:
    if name_or_file.endswith(".toml"):
        path = Path(name_or_file)
        if path.is_file():
            return path
        raise ModelError(
            f"There is no model description {path.name}.", hint="Check the path.", code="model-unknown"
        )
    if name_or_file in config_names():
        return config_path(name_or_file)
    raise ModelError(
        f"There is no model named {name_or_file!r}.",
        hint=f"Known models: {', '.join(config_names())}; or give the path of a .toml file.",
        code="model-unknown",
    )


class _Reader:
    """Checks one TOML document key by key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, value: object, expected: str) -> ModelError:
        return ModelError(
            f"{self.path.name}: {key} is {value!r}, expected {expected}.",
            code="model-toml",
            hint="Correct the file.",
        )

    def get(
        self,
        table: Mapping[str, Any],
        key: str,
        kind: type | tuple[type, ...],
        expected: str,
        default: Any = ...,
    ) -> Any:
        value = table.get(key, default)
        if value is ...:
            raise ModelError(
                f"{self.path.name}: {key} is missing, expected {expected}.", code="model-toml", hint="Add it."
            )
        if value is not default and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            raise self.fail(key, value, expected)
        return value

    def known(self, table: Mapping[str, Any], where: str, keys: Set[str]) -> None:
        if unknown := sorted(set(table) - keys):
            raise ModelError(
                f"{self.path.name}: unknown key {unknown[0]!r} in {where}.",
                hint=f"Known keys: {', '.join(sorted(keys))}.",
                code="model-toml",
            )

    def spec(self, data: Mapping[str, Any]) -> ModelSpec:
        self.known(data, "the file", _TOP_KEYS)
        labels, thresholds = self.labels(self.get(data, "labels", dict, "a table"))
        weights_file, sha256 = self.weights(self.get(data, "weights", dict, "a table", {}))
        explanation = self.get(data, "explanation", dict, "a table")
        self.known(explanation, "[explanation]", {"target_layer", "placement"})
        placement = explanation.get("placement", "stretch")
        if placement not in PLACEMENTS:
            raise self.fail("explanation.placement", placement, " or ".join(PLACEMENTS))
        return ModelSpec(
            name=self.get(data, "name", str, "a string"),
            description=self.get(data, "description", str, "a string", ""),
            intended_use=self.get(data, "intended_use", str, "a string"),
            architecture=self.get(data, "architecture", str, "the name of an architecture"),
            parameters=self.get(data, "parameters", dict, "a table", {}),
            labels=labels,
            thresholds=thresholds,
            preparation=self.preparation(self.get(data, "preparation", dict, "a table")),
            target_layer=self.get(explanation, "target_layer", str, "the name of a module"),
            placement=cast(Placement, placement),
            weights_file=weights_file,
            weights_sha256=sha256,
            demonstration=self.get(data, "demonstration", bool, "true or false", False),
            source=self.path,
        )

    def labels(self, table: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
        self.known(table, "[labels]", {"names", "file", "threshold", "thresholds"})
        if ("names" in table) == ("file" in table):
            raise ModelError(
                f"{self.path.name}: [labels] needs either names or file.",
                code="model-toml",
                hint="Give one of them.",
            )
        if "file" in table:
            names = self.label_file(self.get(table, "file", str, "a path"))
        else:
            names = self.get(table, "names", list, "a list of strings")
        for name in names:
            if not isinstance(name, str) or not name.strip() or "/" in name:
                raise self.fail("labels.names", name, "non-empty strings without slashes")
            if any(unicodedata.category(c) in _CONTROL for c in name):
                raise self.fail("labels.names", name, "a name without control characters")
            if not is_label_name(name):
                raise self.fail("labels.names", name, "a name that --labels cannot take for something else")
        if not names or len(set(names)) != len(names):
            raise ModelError(
                f"{self.path.name}: [labels] holds {len(names)} names, {len(set(names))} of them different.",
                hint="Labels are in the order of the network's outputs, each once.",
                code="model-toml",
            )
        default = self.probability("labels.threshold", table.get("threshold", 0.5))
        own = self.get(table, "thresholds", dict, "a table of label = probability", {})
        self.known(own, "[labels.thresholds]", set(names))
        return tuple(names), tuple(
            self.probability(f"labels.thresholds.{n}", own.get(n, default)) for n in names
        )

    def label_file(self, name: str) -> list[str]:
        try:
            text = (self.path.parent / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise self.fail("labels.file", name, "a readable UTF-8 file with one label a line") from error
        return [line.strip() for line in text.split("\n") if line.strip()]

    def probability(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
            raise self.fail(key, value, "a probability from 0 to 1")
        return float(value)

    def weights(self, table: Mapping[str, Any]) -> tuple[Path | None, str | None]:
        self.known(table, "[weights]", {"file", "sha256"})
        sha256 = self.get(table, "sha256", str, "64 hexadecimal digits", None)
        if sha256 is not None and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
            raise self.fail("weights.sha256", sha256, "64 hexadecimal digits")
        file = self.get(table, "file", str, "a path", None)
        if file is None:
            return None, sha256
        if file.startswith("sample_data/") and self.path.parent == config_path("demo").parent:
            return resource_root() / file, sha256
        return self.path.parent / file, sha256

    def preparation(self, table: Mapping[str, Any]) -> Preparation:
        self.known(table, "[preparation]", _PREPARATION_KEYS)
        spacing = self.numbers(table, "spacing_mm", 3)
        if min(spacing) <= 0:
            raise self.fail("preparation.spacing_mm", spacing, "positive numbers of mm (z, y, x)")
        window = self.numbers(table, "hu_window", 2)
        clip = self.numbers(table, "hu_clip", 2, (-1000.0, 1000.0))
        for key, pair in (("hu_window", window), ("hu_clip", clip)):
            if pair[0] >= pair[1]:
                raise self.fail(f"preparation.{key}", pair, "a lower and a higher HU")
        if not -32768 <= clip[0] < clip[1] <= 32767:
            raise self.fail("preparation.hu_clip", clip, "limits within 16 bits")
        slices = self.get(table, "slices", int, "a number of slices")
        side = self.get(table, "side", int, "a number of pixels")
        if slices < 1 or side < 1:
            raise self.fail("preparation.slices, side", (slices, side), "two positive numbers")
        fixed = {"interpolation": ("bspline", "linear"), "padding": ("minimum",), "centring": ("centre",)}
        choice = {}
        for key, allowed in fixed.items():
            choice[key] = table.get(key, allowed[0])
            if choice[key] not in allowed:
                raise self.fail(f"preparation.{key}", choice[key], " or ".join(allowed))
        return Preparation(
            spacing_mm=cast(tuple[float, float, float], spacing),
            slices=slices,
            side=side,
            hu_window=cast(tuple[float, float], window),
            hu_clip=cast(tuple[float, float], clip),
            subtract=self.numbers({"subtract": [table.get("subtract", 0.449)]}, "subtract", 1)[0],
            interpolation=choice["interpolation"],
            padding=choice["padding"],
            centring=choice["centring"],
        )

    def numbers(
        self, table: Mapping[str, Any], key: str, count: int, default: Any = ...
    ) -> tuple[float, ...]:
        value = self.get(table, key, list | tuple, f"a list of {count} numbers", default)  # type: ignore[arg-type]
        ok = len(value) == count and all(
            isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in value
        )
        if not ok:
            raise self.fail(f"preparation.{key}", value, f"{count} finite numbers")
        return tuple(float(v) for v in value)
