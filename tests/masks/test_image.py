"""Masks in image files lie where other programs wrote them, and what is no mask is refused by name."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.errors import MaskError
from hirescam_cli.masks.image import own_names
from hirescam_cli.masks.mask import Mask
from hirescam_cli.masks.sources import source_of
from tests.masks.mask_world import GRIDS, STRAIGHT, blob, itk, nifti, same_place, two_labels

CARET = b"""<?xml version="1.0"?><CaretExtension><VolumeInformation Index="0"><LabelTable>
<Label Key="1" Red="0" Green="1" Blue="0" Alpha="1"><![CDATA[spleen]]></Label>
<Label Key="4" Red="0" Green="0" Blue="1" Alpha="1">lung &amp; left</Label>
</LabelTable></VolumeInformation></CaretExtension>"""


def load(path: Path, name: str = "m", alone: bool = False, given: dict[int, str] | None = None) -> Mask:
    return source_of(path, name, alone, given).load(name)


def refusal(
    path: Path, name: str = "m", alone: bool = False, given: dict[int, str] | None = None
) -> MaskError:
    with pytest.raises(MaskError) as caught:
        load(path, name, alone, given)
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".nhdr"])
def test_every_format_on_every_grid(tmp_path: Path, ending: str, grid: NDArray[np.float64]) -> None:
    write = nifti if ".nii" in ending else itk
    path = write(tmp_path / f"m{ending}", blob(value=255), grid)
    mask = load(path)
    same_place(mask, blob() > 0, grid)
    if ending not in (".mhd", ".nhdr"):
        assert mask.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_type_of_voxels(tmp_path: Path, dtype: type) -> None:
    same_place(load(nifti(tmp_path / "m.nii", blob().astype(dtype))), blob() > 0, STRAIGHT)


def test_an_empty_mask_and_a_single_slice(tmp_path: Path) -> None:
    empty = load(nifti(tmp_path / "e.nii.gz", np.zeros((4, 4, 4), np.uint8)))
    assert empty.array_ijk.shape == (4, 4, 4)
    assert not empty.array_ijk.any()
    one = np.zeros((3, 4, 1), np.uint8)
    one[2, 1, 0] = 1
    for path in (
        nifti(tmp_path / "o.nii.gz", one),
        itk(tmp_path / "o.nrrd", one),
        itk(tmp_path / "o.mha", one),
    ):
        same_place(load(path), one > 0, STRAIGHT)


def test_the_names_of_mask_labels_part_a_label_map(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii.gz", two_labels())
    table = {1: "nodule", 4: "effusion", 5: "mass"}
    assert source_of(path, "ct", True, table).names() == ("nodule", "effusion", "mass")
    same_place(load(path, "nodule", True, table), two_labels() == 1, STRAIGHT)
    same_place(load(path, "effusion", True, table), two_labels() == 4, STRAIGHT)
    assert not load(path, "mass", True, table).array_ijk.any()
    assert "the value 4, which has no name" in refusal(path, "nodule", True, {1: "nodule"}).message
    joined = load(path, "any", True, {1: "any", 4: "any"})
    same_place(joined, two_labels() > 0, STRAIGHT)


def test_slicers_segments(tmp_path: Path) -> None:
    meta = {"Segment0_LabelValue": "4", "Segment0_Name": "Pleural effusion", "Segment0_ID": "Segment_7"}
    meta |= {"Segment1_LabelValue": "1", "Segment1_ID": "Segment_1", "Segment1_Name": ""}
    path = itk(tmp_path / "ct.seg.nrrd", two_labels(), GRIDS["oblique"], **meta)
    assert own_names(path) == {4: "Pleural effusion", 1: "Segment_1"}
    same_place(load(path, "Pleural effusion"), two_labels() == 4, GRIDS["oblique"])
    same_place(load(path, "Segment_1"), two_labels() == 1, GRIDS["oblique"])


def layered(path: Path, layers: list[NDArray[np.uint8]], grid: NDArray[np.float64], **meta: str) -> Path:
    """A 4-D NRRD as 3D Slicer writes it where segments overlap: the first axis lists the layers."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid

    def vector(column: NDArray[np.float64]) -> str:
        return "(" + ",".join(f"{value:.10g}" for value in column[:3]) + ")"

    lines = [
        "NRRD0004", "type: unsigned char", "dimension: 4", "space: left-posterior-superior",
        f"sizes: {len(layers)} {' '.join(map(str, layers[0].shape))}",
        f"space directions: none {vector(lps[:, 0])} {vector(lps[:, 1])} {vector(lps[:, 2])}",
        "kinds: list domain domain domain", "encoding: gzip", f"space origin: {vector(lps[:, 3])}",
        *(f"{key}:={value}" for key, value in meta.items()),
    ]  # fmt: skip
    voxels = gzip.compress(np.stack(layers).tobytes("F"))
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + voxels)
    return path


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_slicers_segments_that_overlap(tmp_path: Path, grid: NDArray[np.float64]) -> None:
    meta = {"Segment0_LabelValue": "1", "Segment0_Layer": "1", "Segment0_Name": "mass", "Segment0_ID": "a"}
    meta |= {"Segment1_LabelValue": "1", "Segment1_Layer": "0", "Segment1_Name": "heart"}
    meta |= {"Segment2_LabelValue": "4", "Segment2_Layer": "0", "Segment2_ID": "cyst"}
    mass = np.roll(blob(), 1, axis=0)
    path = layered(tmp_path / "ct.seg.nrrd", [two_labels(), mass], grid, **meta)
    assert ((mass > 0) & (two_labels() == 1)).any()
    for given in (None, {1: "something else"}):
        assert source_of(path, "ct", True, given).names() == ("mass", "heart", "cyst")
        same_place(load(path, "mass", True, given), mass > 0, grid)
        same_place(load(path, "heart", True, given), two_labels() == 1, grid)
        same_place(load(path, "cyst", True, given), two_labels() == 4, grid)
    old = {"Segment0_Name": "heart", "Segment0_ID": "a", "Segment1_Name": "mass"}
    path = layered(tmp_path / "old.seg.nrrd", [blob(), mass], grid, **old)
    same_place(load(path, "mass"), mass > 0, grid)
    same_place(load(path, "heart"), blob() > 0, grid)


def test_layers_and_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    one = {"Segment0_LabelValue": "1", "Segment0_Layer": "0", "Segment0_Name": "mass"}
    path = layered(tmp_path / "less.seg.nrrd", [blob(), blob()], STRAIGHT, **one)
    assert "the value 1 in layer 1, which has no name" in refusal(path, "mass").message
    more = one | {"Segment1_LabelValue": "1", "Segment1_Layer": "2", "Segment1_Name": "heart"}
    path = layered(tmp_path / "more.seg.nrrd", [blob(), blob() * 0], STRAIGHT, **more)
    assert "heart should be in layer 2, and it has 2" in refusal(path, "heart").message
    same_place(load(path, "mass"), blob() > 0, STRAIGHT)
    twice = one | {"Segment1_LabelValue": "1", "Segment1_Layer": "0", "Segment1_Name": "heart"}
    path = layered(tmp_path / "twice.seg.nrrd", [blob(), blob() * 0], STRAIGHT, **twice)
    assert "mass and heart have the same value" in refusal(path, "heart").message
    flat = itk(tmp_path / "flat.seg.nrrd", blob(), **{k: v for k, v in twice.items() if "Layer" not in k})
    assert refusal(flat, "heart").code == "mask-values"
    nameless = layered(tmp_path / "none.seg.nrrd", [blob(), blob()], STRAIGHT)
    assert refusal(nameless).code == "mask-shape"
    path.write_bytes(path.read_bytes()[:-12])
    assert refusal(path, "heart").code in ("mask-unreadable", "mask-values")


def test_totalsegmentators_table(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(two_labels(), STRAIGHT)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, CARET))
    path = tmp_path / "ct.nii.gz"
    nibabel.save(image, path)
    assert own_names(path) == {1: "spleen", 4: "lung &amp; left"}
    same_place(load(path, "spleen", True), two_labels() == 1, STRAIGHT)


@pytest.mark.parametrize(
    ("values", "code", "text"),
    [
        (blob() * np.float32(0.37), "mask-values", "0.37"),
        (blob().astype(np.int16) * -1024, "mask-values", "-1024"),
        (blob() * np.float32(np.nan), "mask-values", "nan"),
        (two_labels(), "mask-values", "more than one value"),
        (np.stack([blob(), blob()], axis=-1), "mask-shape", "2 volumes"),
    ],
    ids=["probability", "image", "nan", "labels", "4-D"],
)
def test_values_that_are_no_mask(tmp_path: Path, values: NDArray[np.generic], code: str, text: str) -> None:
    error = refusal(nifti(tmp_path / "m.nii.gz", values))
    assert error.code == code
    assert text in error.message


def test_grids_that_lie_nowhere(tmp_path: Path) -> None:
    sheared = STRAIGHT.copy()
    sheared[0, 1] = 0.5
    assert refusal(nifti(tmp_path / "s.nii", blob(), sheared)).code == "mask-sheared"
    assert refusal(nifti(tmp_path / "n.nii", blob(), None)).code == "mask-no-affine"
    for line in ("TransformMatrix", "Offset"):
        path = itk(tmp_path / "m.mha", blob())
        kept = [part for part in path.read_bytes().split(b"\n") if not part.startswith(line.encode())]
        path.write_bytes(b"\n".join(kept))
        assert refusal(path).code == "mask-no-affine"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_damaged_files(tmp_path: Path, ending: str) -> None:
    path = (nifti if ".nii" in ending else itk)(tmp_path / f"m{ending}", blob((20, 20, 20)))
    data = path.read_bytes()
    path.write_bytes(data[:-12])
    assert refusal(path).code == "mask-unreadable"
    path.write_bytes(b"nothing of the kind")
    assert refusal(path).code == "mask-unreadable"
    path.unlink()
    assert refusal(path).code == "mask-unreadable"
