"""Model descriptions: what is accepted, each refusal, and the embedded ones."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from hirescam_cli.errors import ModelError
from hirescam_cli.model.spec import list_models, load_spec, standalone
from hirescam_cli.prepare import Preparation, radchest
from hirescam_cli.prepare.steps.normalise import Normalise
from hirescam_cli.prepare.steps.pad_crop import PadAndCrop
from hirescam_cli.prepare.steps.resample import Resample
from hirescam_cli.prepare.steps.window import Window

GOOD = """
name = "mine"
description = "of a test"
intended_use = "tests"
architecture = "axialnet"
demonstration = true

[parameters]
trunk_width = 4

[labels]
names = ["nodule", "mass"]
threshold = 0.4
thresholds = { mass = 0.7 }

[weights]
file = "mine.safetensors"
sha256 = "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"

[input]
axes = "IPL"
channels = "slab:3"

[[preparation]]
step = "resample"
spacing_mm = [1.6, 0.8, 0.9]
interpolation = "linear"
convention = "hirescam"

[[preparation]]
step = "window"
hu = [-1024, 900.0]
to = [-1024, 900.0]
levels = 1925

[[preparation]]
step = "pad_crop"
shape = [12, 420, 420]
anchor = ["end", "centre", "start"]
value = -1000

[[preparation]]
step = "window"
hu = [-900, 300]

[[preparation]]
step = "normalise"
subtract = 0.25
divide = 2.0

[explanation]
target_layer = "conv2d.5"
placement = "receptive-field"
"""


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_value_of_a_description_arrives(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD))
    assert (spec.name, spec.description, spec.intended_use) == ("mine", "of a test", "tests")
    assert (spec.architecture, dict(spec.parameters)) == ("axialnet", {"trunk_width": 4})
    assert (spec.labels, spec.thresholds) == (("nodule", "mass"), (0.4, 0.7))
    assert spec.weights_files == (tmp_path / "mine.safetensors",)
    assert spec.weights_sha256 == ("AB" * 32,)
    assert spec.preparation == Preparation(
        "IPL",
        "slab:3",
        (
            Resample((1.6, 0.8, 0.9), "linear"),
            Window(((-1024.0, 900.0),), (-1024.0, 900.0), 1925),
            PadAndCrop((12, 420, 420), ("end", "centre", "start"), -1000.0),
            Window(((-900.0, 300.0),)),
            Normalise(0.25, 2.0),
        ),
    )
    assert (spec.preparation.shape, spec.preparation.window_hu) == ((12, 420, 420), (-900.0, 300.0))
    assert spec.file_sha256 == hashlib.sha256((tmp_path / "mine.toml").read_bytes()).hexdigest()
    assert (spec.target_layer, spec.placement, spec.demonstration) == ("conv2d.5", "receptive-field", True)


def test_what_may_be_left_out_has_the_documented_defaults(tmp_path: Path) -> None:
    text = """
name = "short"
intended_use = "tests"
architecture = "axialnet"
labels = { file = "labels.txt" }
input = { axes = "RAS" }
[[preparation]]
step = "resample"
spacing_mm = [0.8, 0.8, 0.8]
[[preparation]]
step = "pad_crop"
shape = [402, 420, 420]
[[preparation]]
step = "window"
hu = [-1000, 200]
[[preparation]]
step = "normalise"
"""
    (tmp_path / "labels.txt").write_text("nodule\n\n mass \nlung h\u00f6hle\n", encoding="utf-8")
    spec = load_spec(write(tmp_path, text))
    assert spec.labels == ("nodule", "mass", "lung höhle")
    assert spec.thresholds == (0.5, 0.5, 0.5)
    assert (spec.weights_files, spec.weights_sha256, spec.demonstration) == ((), (), False)
    assert (spec.target_layer, spec.at, spec.placement) == (None, None, None)
    assert spec.preparation == Preparation(
        "RAS",
        "one",
        (
            Resample((0.8, 0.8, 0.8), "bspline", "hirescam"),
            PadAndCrop((402, 420, 420), ("centre", "centre", "centre"), "minimum"),
            Window(((-1000.0, 200.0),), (0.0, 1.0), None),
            Normalise(0.0, 1.0),
        ),
    )


REPLACED = [
    ('name = "mine"\n', "", "name is missing"),
    ('intended_use = "tests"\n', "", "intended_use is missing"),
    ('architecture = "axialnet"\n', "", "architecture is missing"),
    ("spacing_mm = [1.6, 0.8, 0.9]\n", "", "spacing_mm is missing"),
    ('name = "mine"', 'name = "mine"\ncolour = 3', "unknown key 'colour' in the file"),
    ("threshold = 0.4", "threshold = 0.4\nlimit = 1", r"unknown key 'limit' in \[labels\]"),
    ('placement = "rec', 'place = 1\nplacement = "rec', r"unknown key 'place' in \[explanation\]"),
    ('file = "mine.safetensors"', 'url = "mine.safetensors"', r"unknown key 'url' in \[weights\]"),
    ('name = "mine"', "name = 3", "name is 3, expected a string"),
    ("demonstration = true", 'demonstration = "yes"', "demonstration is 'yes', expected true or false"),
    ("[1.6, 0.8, 0.9]", "[1.6, 0.8]", "spacing_mm is .*expected 3 finite numbers"),
    ("[1.6, 0.8, 0.9]", "[1.6, 0.8, nan]", "spacing_mm is .*expected 3 finite numbers"),
    ("[1.6, 0.8, 0.9]", "[1.6, 0.8, true]", "spacing_mm is .*expected 3 finite numbers"),
    ("[1.6, 0.8, 0.9]", "[1.6, 0.8, 0.0]", "spacing_mm is .*expected positive"),
    ("[1.6, 0.8, 0.9]", "0.8", "spacing_mm is 0.8"),
    ("subtract = 0.25", 'subtract = "x"', "subtract is"),
    ('interpolation = "linear"', 'interpolation = "cubic"', "interpolation is 'cubic'"),
    ('step = "normalise"', 'step = "whiten"', "preparation.5.step is 'whiten', expected resample or resize or"),
    ('convention = "hirescam"', 'convention = "itk"', "convention is 'itk', expected hirescam"),
    ("hu = [-900, 300]\n", "", "preparation.4.hu is missing"),
    ("hu = [-900, 300]", "hu = [300, 300]", "hu is .*expected a lower and a higher HU"),
    ("hu = [-900, 300]", "hu = [[-900, 300], [0, 1]]", "input.channels is 'slab:3', expected windows"),
    ("shape = [12, 420, 420]", "shape = [12, 420]", "shape is .*expected 3 finite numbers"),
    ("shape = [12, 420, 420]", "shape = [12, 420.5, 420]", "shape is .*positive whole numbers"),
    ("shape = [12, 420, 420]", "shape = [12, 0, 420]", "shape is .*positive whole numbers"),
    ("shape = [12, 420, 420]", "shape = [13, 420, 420]", "channels is 'slab:3', expected slabs that divide .* is 13"),
    ("shape = [12, 420, 420]", "shape = [12, 420, 420]\nslabs = 2", r"unknown key 'slabs' in \[preparation.3\]"),
    ('"end", "centre", "start"', '"end", "lung", "start"', "anchor is .*three of centre, start, end"),
    ("value = -1000", 'value = "zero"', "value is 'zero', expected a number, or"),
    ("levels = 1925", "levels = 1", "levels is 1, expected a number of levels"),
    ("divide = 2.0", "divide = 0", "divide is 0.0, expected a number other than 0"),
    ("subtract = 0.25", 'of = "volume"', "divide is 2.0, expected no such key with of"),
    ('axes = "IPL"', 'axes = "IPX"', "input.axes is 'IPX', expected three letters"),
    ('axes = "IPL"', 'axes = "IPA"', "input.axes is 'IPA', expected three letters"),
    ('axes = "IPL"', 'axes = "IPLR"', "input.axes is 'IPLR', expected three letters"),
    ('axes = "IPL"', "", "input.axes is missing"),
    ('axes = "IPL"', 'axes = ""', "input.axes is '', expected three letters"),
    ('channels = "slab:3"', 'channels = "repeat:99999999999999999999"', "expected one, repeat:N, slab:N"),
    ('channels = "slab:3"', 'channels = "slab:1000"', "N from 1 to 999"),
    ('channels = "slab:3"', 'channels = "slab:0"', "input.channels is 'slab:0', expected one, repeat"),
    ('channels = "slab:3"', 'channels = "windows"', "input.channels is 'windows'"),
    ('target_layer = "conv2d.5"', 'target_layer = ""', "explanation.target_layer is '', expected the name of a layer"),
    ('target_layer = "conv2d.5"', 'target_layer = "conv2d.5"\nat = "both"', "at is 'both', expected output or input"),
    ('placement = "receptive-field"', 'placement = "rf"', "placement is 'rf', expected stretch or rec"),
    ("threshold = 0.4", "threshold = 1.4", "labels.threshold is 1.4, expected a probability"),
    ("threshold = 0.4", "threshold = true", "labels.threshold is True, expected a probability"),
    ("mass = 0.7", "mass = -0.1", "labels.thresholds.mass is -0.1, expected a probability"),
    ("mass = 0.7", "fibrosis = 0.7", r"unknown key 'fibrosis' in \[labels.thresholds\]"),
    ('["nodule", "mass"]', '["nodule", "mass", "mass"]', "3 names, 2 of them different"),
    ('["nodule", "mass"]\nthreshold = 0.4\nthresholds = { mass = 0.7 }', "[]", "0 names"),
    ('["nodule", "mass"]', '["nodule", "mass", ""]', "labels.names is ''"),
    ('["nodule", "mass"]', '["nodule", "mass", "a/b"]', "labels.names is 'a/b'"),
    ('["nodule", "mass"]', '["nodule", "mass", 3]', "labels.names is .*3.*expected a list of strings"),
    *[
        ('"nodule", "mass"]', f'"nodule", "mass", "{name}"]', "labels.names is .*that --labels cannot take")
        for name in ("all", "positive", "top:3", "top:x", "top:", "a, b", ",", " nodule", "nodule ")
    ],
    *[
        ('"nodule", "mass"]', f'"nodule", "mass", "{name}"]', "labels.names is .*without control characters")
        for name in (r"a\nb", r"a\tb", r"\u0000", r"\u001b[31mred", r"a\u0085b", r"\u202eabc", r"a\u2028b")
    ],
    ('names = ["nodule", "mass"]', 'file = "absent.txt"', "labels.file is 'absent.txt'"),
    ('names = ["nodule", "mass"]', 'names = ["nodule", "mass"]\nfile = "x"', "either names or file"),
    ('names = ["nodule", "mass"]\n', "", "either names or file"),
    ('sha256 = "AB', 'sha256 = "XY', "sha256 is 'XY"),
    ('sha256 = "AB', 'sha256 = "', "sha256 is 'AB"),
    ("[parameters]\ntrunk_width = 4", "parameters = 4", "parameters is 4, expected a table"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"), REPLACED, ids=[f"{n}-{m[:24]}" for n, (_, _, m) in enumerate(REPLACED)]
)
def test_each_fault_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1, old
    with pytest.raises(ModelError, match=message) as caught:
        load_spec(write(tmp_path, GOOD.replace(old, new)))
    assert caught.value.message.startswith("mine.toml: ")
    assert str(tmp_path) not in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("model-toml", 2)
    assert caught.value.hint


@pytest.mark.parametrize("label", ["all", "top:3", "a,b", "a\x1bb", "a\x1cb", "a\x0bb", "a\u2028b"])
def test_a_file_of_labels_is_held_to_the_same(tmp_path: Path, label: str) -> None:
    (tmp_path / "labels.txt").write_text(f"nodule\n{label}\nmass\n", encoding="utf-8")
    text = GOOD.replace('names = ["nodule", "mass"]', 'file = "labels.txt"')
    with pytest.raises(ModelError, match=r"labels\.names is") as caught:
        load_spec(write(tmp_path, text))
    assert repr(label) in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("label", ["allergy", "positives", "on top: x", "topmost", "lung höhle", "x-all"])
def test_labels_that_only_resemble_words_are_taken(tmp_path: Path, label: str) -> None:
    assert load_spec(write(tmp_path, GOOD.replace('"nodule"', f'"{label}"'))).labels == (label, "mass")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\x00", b"[labels]\n[labels]\n"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.toml").write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.toml is not a model description"):
        load_spec(str(tmp_path / "broken.toml"))


def test_unknown_names_and_absent_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model named 'axialnet-84'") as caught:
        load_spec("axialnet-84")
    assert "axialnet-83" in str(caught.value.hint)
    with pytest.raises(ModelError) as caught:
        load_spec(str(tmp_path / "absent.toml"))
    assert caught.value.code == "model-unknown"
    assert caught.value.message == "There is no model description absent.toml."
    with pytest.raises(ModelError):
        load_spec("../configs/axialnet-83")


FACTS = {  # name: labels, first and last label, slices, HU window
    "axialnet-83": (83, 402, (-1000.0, 200.0)),
    "axialnet-80": (80, 405, (-1000.0, 800.0)),
}


@pytest.mark.parametrize("name", sorted(FACTS))
def test_embedded_models_have_the_numbers_of_the_authors(name: str) -> None:
    labels, slices, window = FACTS[name]
    spec = load_spec(name)
    assert len(spec.labels) == labels
    assert spec.preparation == radchest((0.8, 0.8, 0.8), (slices, 420, 420), window)
    assert (spec.target_layer, spec.placement) == ("conv2d.7", "stretch")
    assert (spec.weights_files, spec.demonstration) == ((), False)
    assert dict(spec.parameters) == {"trunk_width": 64, "head_channels": [64, 32, 16, 16]}


@pytest.mark.parametrize(
    ("name", "file"), [("axialnet-83", "labels_83_whole_scan.txt"), ("axialnet-80", "labels_80_by_organ.txt")]
)
def test_embedded_labels_are_those_of_the_facts(name: str, file: str) -> None:
    facts = Path(__file__).resolve().parents[2].parent / "shared" / "facts" / file
    if not facts.is_file():
        pytest.skip("the folder of facts (../shared/facts) is not here")
    assert list(load_spec(name).labels) == [
        line.strip() for line in facts.read_text().splitlines() if line.strip()
    ]


def test_embedded_labels_begin_and_end_in_the_authors_order() -> None:
    by_83, by_80 = load_spec("axialnet-83").labels, load_spec("axialnet-80").labels
    assert (by_83[0], by_83[41], by_83[82]) == ("bandlike_or_linear", "calcification", "gi_tube")
    assert (by_80[0], by_80[79]) == ("h_great_vessel_aneurysm", "lung_tree_in_bud")


def test_the_list_holds_every_embedded_model_once() -> None:
    names = [entry.name for entry in list_models()]
    assert {"axialnet-83", "axialnet-80"} <= set(names)
    assert len(names) == len(set(names))


_HEAD = '# Our model.\n\nname = "s"\nintended_use = "x # not a comment"\narchitecture = "axialnet"\n'
_REST = """
[input]
axes = "RAS"
[[preparation]]
step = "pad_crop"
shape = [16, 16, 16]
[[preparation]]
step = "window"
hu = [-1000, 400]
[training]
finished = 2026-11-02
seeds = [1, 2]
"""
_WAYS = {
    "several lines": '[weights]\nfile = [\n  "b.pt",\n]\n[labels]\nnames = ["x", "y"]\n',
    "column": '[weights]\nfile = "b.pt"\n[labels]\nfile = "l.csv"\ncolumn = "name"\nthresholds = { x = 0.25 }\n',
    "comment": '[weights] # our own\nfile = "b.pt" # best\n[labels]\nnames = ["x", "y"]\n',
    "dotted": 'weights.file = "b.pt"\nlabels.file = "l.txt"\n',
    "inline": 'weights = { file = "b.pt", sha256 = "' + 64 * "a" + '" }\nlabels = { file = "l.txt" }\n',
    "indented": '  [weights]\n  file = "b.pt"\n  [labels]\n  file = "l.txt"\n',
    "ensemble": '[weights]\nfile = ["b.pt", "c.pt"]\n[labels]\nfile = "l.txt"\n',
    "labels alone": '[labels]\nfile = "l.txt"\n',
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_standalone_description_says_the_same_elsewhere(way: str, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / 'else "where"'
    home.mkdir()
    elsewhere.mkdir()
    (home / "l.csv").write_text("name,n\nx,1\ny,2\n", encoding="utf-8")
    (home / "l.txt").write_text("x\ny\n", encoding="utf-8")
    (home / "own.toml").write_text(_HEAD + _WAYS[way] + _REST, encoding="utf-8")
    own = load_spec(str(home / "own.toml"))
    text = standalone(own)
    (elsewhere / "moved.toml").write_text(text, encoding="utf-8")
    moved = load_spec(str(elsewhere / "moved.toml"))
    assert moved.labels == ("x", "y")
    assert moved.weights_files == own.weights_files
    assert all(path.is_absolute() for path in moved.weights_files)
    assert dataclasses.replace(moved, file_sha256=own.file_sha256) == own
    assert text.startswith("# Our model.\n\n")
    assert "shape = [16, 16, 16]\n" in text
    # What is standalone already stays as it is.
    assert standalone(moved) == text


def test_a_description_without_files_is_shown_as_it_is_written(tmp_path: Path) -> None:
    text = _HEAD + '[labels] # two\nnames = ["x", "y"]\n' + _REST
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    assert standalone(load_spec(str(tmp_path / "own.toml"))) == text
