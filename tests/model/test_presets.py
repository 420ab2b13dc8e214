"""The embedded descriptions of other people's networks, and the ways in which labels are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import ModelError
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.resources import config_path

# name: labels, target, at, stride of a cell along the input's axes, offset
PRESETS = {
    "merlin": (1692, "avgpool", "input", (32.0, 32.0, 16.0), (0.0, 0.0, 0.0)),
    "merlin-five-year": (6, "avgpool", "input", (32.0, 32.0, 16.0), (0.0, 0.0, 0.0)),
    "sybil": (6, "image_encoder", "output", (8.0, 16.0, 16.0), (0.0, 0.0, 0.0)),
    "ctnet-83": (83, "features", "output", (3.0, 32.0, 32.0), (1.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_describes_the_network_it_names(name: str) -> None:
    labels, target, at, stride, offset = PRESETS[name]
    spec = load_spec(name)
    network = ARCHITECTURES.find(spec.architecture).build(spec.parameters, len(spec.labels))
    assert (spec.name, len(spec.labels)) == (name, labels)
    assert (spec.target_layer, spec.at, spec.placement) == (target, at, "receptive-field")
    assert (network.target_layer, network.at) == (target, at)
    assert spec.preparation.shape is not None
    cells = network.cells(target, spec.preparation.shape)
    assert (cells.stride, cells.offset) == (stride, offset)
    for word in ("MIT", "weights"):
        assert word in spec.description
    assert "Not for diagnosis" in spec.intended_use


def test_ct_nets_labels_and_preparation_are_axialnets() -> None:
    own, other = load_spec("ctnet-83"), load_spec("axialnet-83")
    assert own.labels == other.labels
    assert own.preparation == other.preparation


def own(tmp_path: Path, labels: str, name: str = "merlin") -> ModelSpec:
    """The preset saved elsewhere, with other labels."""
    text = config_path(name).read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(text.replace("count = 1692", labels), encoding="utf-8")
    return load_spec(str(tmp_path / "own.toml"))


def test_merlins_outputs_are_numbered_until_they_are_named(tmp_path: Path) -> None:
    assert load_spec("merlin").labels[:2] == ("output 0001", "output 0002")
    assert load_spec("merlin").labels[-1] == "output 1692"
    (tmp_path / "phenotypes.csv").write_text(
        "phecode,phecode_str\n8,Intestinal infection\n41.21,Rheumatic fever / chorea\n"
        '132,"Infestation (lice, mites)"\n',
        encoding="utf-8",
    )
    named = own(tmp_path, 'file = "phenotypes.csv"\ncolumn = "phecode_str"')
    assert named.labels == (
        "Intestinal infection", "Rheumatic fever - chorea", "Infestation (lice; mites)",
    )  # fmt: skip
    assert own(tmp_path, 'file = "phenotypes.csv"\ncolumn = "phecode"').labels == ("8", "41.21", "132")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('file = "phenotypes.csv"\ncolumn = "phecode_str"', r"labels\.file is 'phenotypes\.csv', expected a readable"),
        ('file = "there.csv"\ncolumn = "name"', r"labels\.column is 'name', expected a column of there\.csv, .* a, b"),
        ('file = "there.csv"\ncolumn = "b"', "holds 2 names, 1 of them different"),
        ('names = ["a"]\ncolumn = "b"', r"labels\.column is 'b', expected no such key without file"),
        ('file = "open.csv"\ncolumn = "b"', r"each quotation mark closed; after line [0-9]+: field larger"),
        ("count = 0", r"labels\.count is 0, expected the number of labels"),
        ('count = 2\nnames = ["a", "b"]', "needs either names or file, or count"),
    ],
)  # fmt: skip
def test_labels_that_are_not_there_are_asked_for(tmp_path: Path, labels: str, message: str) -> None:
    (tmp_path / "there.csv").write_text("a,b\n1,x\n2,x\n", encoding="utf-8")
    (tmp_path / "open.csv").write_text('a,b\n1,"x\n' + "2,y\n" * 40000, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        own(tmp_path, labels)
    assert caught.value.hint
