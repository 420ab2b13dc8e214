"""The file of --mask-labels in every form that it may have, and how names are compared."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest

from hirescam_cli.errors import UsageError
from hirescam_cli.masks.names import assign, matching, read_names, slug

FORMS = {
    "csv": "1,nodule\n2,pleural effusion\n",
    "heading": "value,name\n1,nodule\n2,pleural effusion\n",
    "semicolons": "value;name\n1;nodule\n2;pleural effusion\n",
    "tabs": "1\tnodule\n2\tpleural effusion\n",
    "quoted": '1,"nodule"\n2,"pleural effusion"\n',
    "bom": "\ufeff1,nodule\n2,pleural effusion\n",
    "json": '{"1": "nodule", "2": "pleural effusion"}',
    "json-names-first": '{"nodule": 1, "pleural effusion": 2}',
    "nnunet": '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "nodule": 1, "pleural effusion": 2}}',
    "itk-snap": '# ITK-SNAP\n0 0 0 0 0 0 0 "Clear"\n1 255 0 0 1 1 1 "nodule"\n2 0 255 0 0.5 1 1 "pleural effusion"\n',
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels"
    path.write_text(text, encoding="utf-8")
    assert read_names(path) == {1: "nodule", 2: "pleural effusion"}


def test_slicers_colour_table(tmp_path: Path) -> None:
    path = tmp_path / "names.ctbl"
    path.write_text(
        "# Color table\n0 Background 0 0 0 0\n1 nodule 255 0 0 255\n2 pleural_effusion 0 255 0 255\n"
    )
    assert read_names(path) == {1: "nodule", 2: "pleural_effusion"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "names no value"),
        ("0,background\n", "names no value"),
        ("1,nodule\nmass\n", "not a value and a name"),
        ("1,nodule\nx,mass\n", "does not begin with a whole number"),
        ("1,nodule\n1,mass\n", "the value 1 has two names"),
        ("{", "not valid JSON"),
        ('{"nodule": 1.5}', "does not stand for one value"),
        ('{"labels": [1]}', "not an object"),
    ],
)
def test_refusals(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=expected) as caught:
        read_names(path)
    assert "labels.csv" in caught.value.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_names(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UsageError, match="cannot be read"):
        read_names(tmp_path / "binary")


def test_names_agree_by_their_words() -> None:
    assert slug("Lung  nodule (left)") == "lung_nodule_left"
    found = matching(["Lung nodule", "aorta"], ["lung_nodule", "AORTA", "mass"])
    assert found == {"lung_nodule": "Lung nodule", "AORTA": "aorta"}


JAPANESE = ("結節", "腫瘤", "心拡大")
SIZES = ("nodule <1cm", "nodule >1cm")
SIZE_SLUGS = {"nodule <1cm": "nodule__1cm", "nodule >1cm": "nodule__1cm_1"}


@pytest.mark.parametrize(
    ("labels", "names", "masks", "doubtful"),
    [
        (JAPANESE, ["結節"], {"結節": "結節"}, {}),
        (JAPANESE, ["腫瘤", "結節"], {"結節": "結節", "腫瘤": "腫瘤"}, {}),
        (JAPANESE, ["__"], {}, {}),
        (SIZES, ["nodule >1cm"], {"nodule >1cm": "nodule >1cm"}, {}),
        (SIZES, ["Nodule_>1cm", "NODULE <1cm"], {SIZES[0]: "NODULE <1cm", SIZES[1]: "Nodule_>1cm"}, {}),
        (SIZES, ["nodule 1cm"], {}, dict.fromkeys(SIZES, ("nodule 1cm",))),
        (SIZES, ["nodule 1cm", "nodule >1cm"], {SIZES[1]: "nodule >1cm"}, {SIZES[0]: ("nodule 1cm",)}),
        (SIZES[:1], ["nodule >1cm"], {}, {}),
        (SIZES[:1], ["nodule 1cm"], {SIZES[0]: "nodule 1cm"}, {}),
        (("lung/nodule",), ["lung, nodule", "lung nodule"], {}, {"lung/nodule": ("lung, nodule", "lung nodule")}),
        (("lung nodule", "Lung (nodule)"), ["lung_nodule"], {"lung nodule": "lung_nodule"}, {}),
        (("Nodule", "nodule"), ["NODULE"], {}, dict.fromkeys(("Nodule", "nodule"), ("NODULE",))),
        (("Nodule", "nodule"), ["nodule"], {"nodule": "nodule"}, {}),
        (("+", "-"), ["_", "<"], {}, {}),
        (("épanchement",), [normalize("NFD", "Épanchement")], {"épanchement": normalize("NFD", "Épanchement")}, {}),
    ],
)  # fmt: skip
def test_a_mask_is_of_the_label_that_is_called_so(
    labels: tuple[str, ...], names: list[str], masks: dict[str, str], doubtful: dict[str, tuple[str, ...]]
) -> None:
    for order in (names, names[::-1]):
        found = assign(order, labels)
        assert found.masks == masks
        assert {label: set(fitting) for label, fitting in found.doubtful.items()} == {
            label: set(fitting) for label, fitting in doubtful.items()
        }


def test_the_slug_of_a_case_counts_before_words() -> None:
    assert assign(["nodule__1cm"], SIZES, SIZE_SLUGS).masks == {SIZES[0]: "nodule__1cm"}
    assert assign(["Nodule__1cm_1"], SIZES, SIZE_SLUGS).masks == {SIZES[1]: "Nodule__1cm_1"}
    assert assign(["nodule 1cm"], SIZES, SIZE_SLUGS).masks == {}
    assert assign(["__"], JAPANESE, {"結節": "__", "腫瘤": "___1"}).masks == {"結節": "__"}
    # A mask that is called exactly as one label is never another's by its slug.
    assert assign(["a_b"], ["a b", "a_b"], {"a b": "a_b", "a_b": "a_b_1"}).masks == {"a_b": "a_b"}


def test_words_of_every_script() -> None:
    assert slug("右肺-結節 (5mm)") == "右肺_結節_5mm"
    assert slug("Épanchement Pleural") == "épanchement_pleural"
    assert slug("कि") != slug("की")
    assert slug("+++") == ""
