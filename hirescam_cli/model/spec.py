"""The description of a model: what a TOML file says, checked, without torch.

`load_spec("demo")` finds an embedded description, `load_spec("my-model.toml")` a file. Every refusal is a
`ModelError` that names the file, the key, the offending value and what was expected.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import tomli_w

from hirescam_cli.errors import ModelError
from hirescam_cli.model.labels import Code, read_codes, read_labels
from hirescam_cli.placement import PLACEMENTS, At, Placement
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.resources import config_names, config_path, resource_root
from hirescam_cli.toml_table import Faults, Table

if TYPE_CHECKING:
    from hirescam_cli.prepare import Preparation

NORMALISERS = ("softmax", "layer-norm", "group-norm", "instance-norm", "rms-norm", "l2-norm")

_NUMBERS = re.compile(r"\[\n((?: +[-+.\w]+,\n)+) *\]")

_TOP_KEYS = (
    "name", "description", "intended_use", "architecture", "demonstration", "parameters", "weights", "labels",
    "input", "preparation", "explanation", "training",
)  # fmt: skip


@dataclass(frozen=True)
class ModelSpec:
    """A model's description. `thresholds` holds one probability per label, in the order of `labels`; `codes` the code
    of those labels that have one.

    `target_layer`, `at`, `placement`: None leaves them to the architecture. `freeze`: kinds of normalisers that are
    held constant. `weights_files`: one, or the members of an ensemble. `file_sha256`: of the description itself.
    `training`: what it was trained on and how well it does, for people; empty where the file does not say.
    """

    name: str
    description: str
    intended_use: str
    architecture: str
    parameters: Mapping[str, object]
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    preparation: Preparation
    target_layer: str | None = None
    at: At | None = None
    placement: Placement | None = None
    freeze: tuple[str, ...] = ()
    weights_files: tuple[Path, ...] = ()
    weights_sha256: tuple[str, ...] = ()
    demonstration: bool = False
    training: Mapping[str, object] = field(default_factory=dict)
    file_sha256: str | None = None
    codes: Mapping[str, Code] = field(default_factory=dict)
    source: Path | None = field(default=None, compare=False)

    def described(self) -> dict[str, object]:
        """What of it decides the content of a case, as plain data: nothing about files and words."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "parameters": dict(self.parameters),
            "labels": list(self.labels),
            "thresholds": list(self.thresholds),
            "input": self.preparation.described(),
            "target_layer": self.target_layer,
            "at": self.at,
            "placement": self.placement,
            "freeze": list(self.freeze),
            "demonstration": self.demonstration,
            "codes": {name: [c.scheme, c.value, c.meaning] for name, c in sorted(self.codes.items())},
        }


@dataclass(frozen=True)
class Entry:
    """What the list of models says of one. `weights`: whether it comes with them."""

    name: str
    description: str
    labels: int
    weights: bool


def list_models() -> list[Entry]:
    """The embedded models, by name, without NumPy: for a quick look."""
    entries = []
    for name in config_names():
        path, file, _ = _read(name)
        labels, _ = read_labels(path, file.table("labels"))
        weights, _ = _weights(path, file.table("weights", required=False))
        entries.append(
            Entry(file.text("name"), file.text("description", default=""), len(labels), bool(weights))
        )
    return entries


def labels_of(name_or_file: str) -> tuple[str, ...]:
    """The labels of a model, without NumPy."""
    path, file, _ = _read(name_or_file)
    return read_labels(path, file.table("labels"))[0]


def load_spec(name_or_file: str) -> ModelSpec:
    """Read and check a description by embedded name or by the path of a `.toml` file."""
    return _spec(*_read(name_or_file))


def standalone(spec: ModelSpec) -> str:
    """The text of a description that works wherever it is saved: labels written out, weights by their whole path.

    One that names no file stays as it is; of another the comments above the first key are kept.
    """
    assert spec.source is not None
    text = spec.source.read_text(encoding="utf-8")
    found = tomllib.loads(text)
    document = {**found, "labels": _written_out(found["labels"], spec.labels)}
    if spec.weights_files:
        paths = [str(path.absolute()) for path in spec.weights_files]
        one = isinstance(found["weights"]["file"], str)
        document["weights"] = {**found["weights"], "file": paths[0] if one else paths}
    return text if document == found else _comments(text) + _toml(document)


def _written_out(labels: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    """[labels] with the names themselves in place of a file that holds them."""
    if "file" not in labels:
        return dict(labels)
    return {
        "names" if key == "file" else key: list(names) if key == "file" else value
        for key, value in labels.items()
        if key != "column"
    }


def _comments(text: str) -> str:
    """What stands before the first key."""
    lines = itertools.takewhile(
        lambda line: not line.strip() or line.lstrip().startswith("#"), text.splitlines()
    )
    return "".join(f"{line}\n" for line in lines)


def _toml(document: Mapping[str, object]) -> str:
    """As TOML, lists of numbers on one line each."""
    # No string that tomli_w writes goes over a line.
    return _NUMBERS.sub(
        lambda found: f"[{', '.join(number.strip(' ,') for number in found[1].splitlines())}]",
        tomli_w.dumps(document),
    )


def _read(name_or_file: str) -> tuple[Path, Table, str]:
    """A description's path, its content and the SHA-256 of its bytes."""
    path = _locate(name_or_file)
    try:
        text = path.read_bytes()
        data = tomllib.loads(text.decode("utf-8"))
    except ValueError as error:
        raise ModelError(
            f"{path.name} is not a model description: {error}.",
            hint="A model is a UTF-8 TOML file; `hirescam model show demo --toml` prints an example.",
            code="model-toml",
        ) from error
    except OSError as error:
        raise ModelError(f"{path.name} cannot be read: {error.strerror}.", code="model-toml") from error
    return path, Table(path.name, "", data, Faults(path.name)), hashlib.sha256(text).hexdigest()


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


def _spec(path: Path, file: Table, sha256: str) -> ModelSpec:
    # Steps need NumPy, which the list of models can do without.
    from hirescam_cli.prepare import Preparation
    from hirescam_cli.prepare.reading import read_preparation

    faults = file.faults or Faults(path.name)
    labels: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    weights: tuple[tuple[Path, ...], tuple[str, ...]] = ((), ())
    freeze: tuple[str, ...] = ()
    file.only(_TOP_KEYS)
    name, intended_use = file.text("name"), file.text("intended_use")
    architecture = file.text("architecture", "the name of an architecture")
    listed = file.table("labels")
    codes: dict[str, Code] = {}
    if "labels" in file:
        with faults.collecting():
            labels, thresholds = read_labels(path, listed)
        with faults.collecting():
            codes = read_codes(listed, labels)
    with faults.collecting():
        weights = _weights(path, file.table("weights", required=False))
    preparation = Preparation("RAS", "one", ())
    with faults.collecting():
        preparation = read_preparation(file)
    explanation = file.table("explanation", required=False)
    explanation.only(("target_layer", "at", "placement", "freeze"))
    placement = explanation.choice("placement", PLACEMENTS) if "placement" in explanation else None
    at = explanation.choice("at", ("output", "input")) if "at" in explanation else None
    with faults.collecting():
        freeze = _freeze(explanation)
    spec = ModelSpec(
        name=name,
        description=file.text("description", default=""),
        intended_use=intended_use,
        architecture=architecture,
        parameters=file.table("parameters", required=False).values,
        labels=labels,
        thresholds=thresholds,
        preparation=preparation,
        target_layer=_target_layer(explanation),
        at=cast(At | None, at),
        placement=cast(Placement | None, placement),
        freeze=freeze,
        weights_files=weights[0],
        weights_sha256=weights[1],
        demonstration=file.flag("demonstration", False),
        training=dict(file.table("training", required=False).values),
        file_sha256=sha256,
        codes=codes,
        source=path,
    )
    if architecture:
        with faults.collecting():
            ARCHITECTURES.check(architecture)
    faults.refuse()
    return spec


def _target_layer(explanation: Table) -> str | None:
    if "target_layer" not in explanation:
        return None
    layer = explanation.text("target_layer", "the name of a layer")
    if explanation.values["target_layer"] == "":
        expected = (
            "the name of a layer (see `hirescam model show --layers`); without the line it is the usual one"
        )
        explanation.refuse(explanation.fail("target_layer", layer, expected, 'target_layer = "layer4"'))
    return layer


def _freeze(explanation: Table) -> tuple[str, ...]:
    kinds = explanation.words("freeze", f"a list of {', '.join(NORMALISERS)}", ())
    for kind in kinds:
        if kind not in NORMALISERS:
            raise explanation.fail("freeze", kind, " or ".join(NORMALISERS), f'freeze = ["{NORMALISERS[0]}"]')
    return tuple(dict.fromkeys(kinds))


def _weights(path: Path, table: Table) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Files and their SHA-256: one of each, or a list for the members of an ensemble."""
    table.only(("file", "sha256"))
    digests = _one_or_several(table, "sha256", "64 hexadecimal digits")
    for digest in digests:
        if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
            raise table.fail("sha256", digest, "64 hexadecimal digits")
    names = _one_or_several(table, "file", "a path, or a list of paths")
    if digests and names and len(digests) != len(names):
        raise table.fail("sha256", list(digests), f"one for each of the {len(names)} files")
    files = []
    for name in names:
        embedded = name.startswith("sample_data/") and path.parent == config_path("demo").parent
        files.append(resource_root() / name if embedded else path.parent / name)
    return tuple(files), digests


def _one_or_several(table: Table, key: str, expected: str) -> tuple[str, ...]:
    if key not in table:
        return ()
    return table.words(key, expected) if isinstance(table.values[key], list) else (table.text(key, expected),)
