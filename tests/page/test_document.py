"""The page as a file: what is embedded, that it is exact, that nothing in it can break out."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.errors import OutputCreateError
from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry.affine import from_parts
from hirescam_cli.page.document import json_text
from hirescam_cli.page.encode import PageTooLarge, block_mean, pack_maps, pack_scan
from hirescam_cli.page.page import PAGE_BYTES, page_text
from hirescam_cli.results import html as html_format
from hirescam_cli.results.format import Request, Style
from hirescam_cli.volume import Provenance, Volume
from tests.page.written import write_page
from tests.views import changed, make_case


def inflated(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def unpacked_scan(text: str, shape: tuple[int, ...], step: int) -> NDArray[np.int64]:
    """A naive reading of the coding: one voxel after the other in Python integers."""
    data = inflated(text)
    count = len(data) // 2
    values, last = [], 0
    for low, high in zip(data[:count], data[count:], strict=True):
        folded = low | high << 8
        last += (folded >> 1) if folded % 2 == 0 else -((folded + 1) >> 1)
        last = (last + 2**15) % 2**16 - 2**15
        values.append(last * step)
    return np.array(values).reshape(shape)


def volume_of(array: NDArray[Any], spacing: tuple[float, float, float] = (1.0, 2.0, 3.0)) -> Volume:
    """A volume in LPS order."""
    x, y, z = spacing
    affine = from_parts(np.diag([-x, -y, z]), [5.0, 6.0, -7.0])
    return Volume(array, affine, Provenance("nifti", "0" * 64))


def test_a_small_scan_is_embedded_exactly() -> None:
    array = np.random.default_rng(1).integers(-32768, 32767, (5, 6, 7), endpoint=True).astype(np.int16)
    volume = volume_of(array)
    packed = pack_scan(volume, 10_000)
    assert packed.exact
    assert packed.factors_zyx == (1, 1, 1)
    assert packed.shape_zyx == (7, 6, 5)
    found = unpacked_scan(packed.text, packed.shape_zyx, packed.step_hu)
    np.testing.assert_array_equal(found, array[:, :, ::-1].transpose(2, 1, 0))
    for index in ((0, 0, 0), (6, 5, 4), (2, 3, 1)):
        z, y, x = index
        there = affines.apply(volume.affine_ras, (x, y, 6 - z))
        np.testing.assert_allclose(affines.apply(packed.affine_ras, index), there, atol=1e-12)


def test_a_large_scan_is_embedded_as_means_of_blocks() -> None:
    array = np.random.default_rng(2).integers(-1000, 1000, (300, 3, 513)).astype(np.int16)
    volume = volume_of(array)
    whole = pack_scan(volume, 10_000_000)
    assert (whole.factors_zyx, whole.step_hu, whole.exact) == ((1, 1, 1), 1, True)
    packed = pack_scan(volume, 200_000)
    assert packed.factors_zyx == (3, 1, 2)
    assert packed.step_hu == 1
    assert packed.shape_zyx == (171, 3, 150)
    assert not packed.exact
    found = unpacked_scan(packed.text, packed.shape_zyx, 1)
    zyx = array[:, :, ::-1].transpose(2, 1, 0)
    for z, y, x in ((0, 0, 0), (100, 1, 77), (170, 2, 149)):
        block = zyx[3 * z : 3 * z + 3, y, 2 * x : 2 * x + 2]
        assert abs(found[z, y, x] - block.mean()) <= 0.5
        centre = affines.apply(volume.affine_ras, (2 * x + 0.5, y, 512 - (3 * z + 1)))
        np.testing.assert_allclose(affines.apply(packed.affine_ras, (z, y, x)), centre, atol=1e-9)


def test_a_last_block_that_is_short_is_the_mean_of_its_rest() -> None:
    array = np.arange(5 * 2 * 3, dtype=np.int16).reshape(5, 2, 3)
    means = block_mean(array, (2, 1, 2))
    assert means.shape == (3, 2, 2)
    assert means[0, 0, 0] == np.mean([0, 1, 6, 7])
    assert means[2, 1, 1] == array[4, 1, 2]


def test_noise_is_rounded_until_it_fits() -> None:
    array = np.random.default_rng(3).normal(0, 300, (40, 40, 40)).astype(np.int16)
    generous = pack_scan(volume_of(array), 10_000_000)
    packed = pack_scan(volume_of(array), int(len(generous.text) * 0.85))
    assert packed.step_hu in (2, 4, 8)
    assert packed.factors_zyx == (1, 1, 1)
    assert not packed.exact
    found = unpacked_scan(packed.text, packed.shape_zyx, packed.step_hu)
    assert np.abs(found - array[:, :, ::-1].transpose(2, 1, 0)).max() <= packed.step_hu / 2


def test_a_scan_that_cannot_fit_is_refused() -> None:
    with pytest.raises(PageTooLarge, match="more than the 10 there are"):
        pack_scan(volume_of(np.zeros((4, 4, 4), np.int16)), 10)


def test_fractional_hu_are_rounded_and_said_to_be() -> None:
    array = np.array([[[0.4, -0.6, 99.5]]], dtype=np.float32)
    packed = pack_scan(volume_of(array), 1000)
    assert not packed.exact
    assert unpacked_scan(packed.text, packed.shape_zyx, 1).ravel().tolist() == [100, -1, 0]


def test_maps_are_embedded_bit_for_bit() -> None:
    cams = np.random.default_rng(4).normal(size=(3, 2, 6, 6)).astype(np.float32)
    cams[0, 0, 0, 0] = -0.0
    (packed,) = pack_maps([cams], 100_000)
    planes = np.frombuffer(inflated(packed.text), np.uint8).reshape(4, -1)
    assert planes.T.tobytes() == cams.astype("<f4").tobytes()
    assert packed.describe() == {"shape": [3, 2, 6, 6], "bits": 32, "steps": None}


@pytest.mark.parametrize(("bits", "share"), [(16, 0.7), (8, 0.35)])
def test_maps_that_are_too_many_are_rounded_label_by_label(bits: int, share: float) -> None:
    cams = np.random.default_rng(4).normal(size=(3, 20, 6, 6)).astype(np.float32)
    cams[1] *= 1e-3
    cams[2] = 0
    (exact,) = pack_maps([cams], 10**6)
    (packed,) = pack_maps([cams], int(len(exact.text) * share))
    assert packed.bits == bits
    assert packed.steps is not None
    planes = np.frombuffer(inflated(packed.text), np.uint8).reshape(bits // 8, -1)
    whole = np.frombuffer(planes.T.tobytes(), f"<i{bits // 8}").reshape(cams.shape)
    found = whole * np.array(packed.steps)[:, None, None, None]
    limits = np.abs(cams).max(axis=(1, 2, 3)) / (2 ** (bits - 1) - 1) / 2
    assert (np.abs(found - cams).max(axis=(1, 2, 3)) <= limits * 1.001).all()
    assert (found[2] == 0).all()


def test_what_cannot_fit_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hirescam_cli.page.page.PAGE_BYTES", 505_000)
    view = make_case().view
    with pytest.raises(OutputCreateError) as caught:
        html_format.write(Request(tmp_path, view, view, (), Style()))
    assert caught.value.code == "page-too-large"
    assert "fewer methods" in str(caught.value)


def test_script_and_style_are_those_that_the_policy_names() -> None:
    text = page_text(make_case().view)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
        assert "<!--" not in inline
    outside = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert re.findall(r'\b(?:src|href)="([^"]*)"', outside) == ["data:,"]


def test_no_name_can_end_its_block() -> None:
    labels = (
        "</script><script>alert(1)</script>",
        "<!--<script>",
        '"><img onerror=alert(1)>',
        "a\u2028b & c",
    )
    view = changed(make_case(labels=labels).view, case="</title><script>alert(2)</script>")
    text = page_text(view)
    assert "alert(1)</script>" not in text
    assert "<script>alert" not in text
    assert text.count("<!--") == 0
    block = re.search(r'<script type="application/json" id="case-json">(.*?)</script>', text, re.DOTALL)[1]
    data = json.loads(block)
    assert [label["name"] for label in data["summary"]["labels"]] == list(labels)
    assert html.unescape(re.search(r"<title>(.*?)</title>", text)[1]).startswith("</title><script>")


def test_json_text_is_the_same_data_without_markup() -> None:
    value = {"a": ["<&>", "\u2028\u2029", "\u00e9"], "b": None}
    text = json_text(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)
    with pytest.raises(ValueError):
        json_text(float("nan"))


def test_a_page_stays_below_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hirescam_cli.page.page.PAGE_BYTES", 1_000_000)
    known = make_case(shape_lps=(100, 100, 100))
    noise = np.random.default_rng(8).normal(0, 100, (100, 100, 100)).astype(np.int16)
    known.view.volume.array_ijk[...] += noise
    write_page(known.view, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 1_000_000
    assert PAGE_BYTES == 20_000_000


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    view = make_case().view
    with pytest.raises(OutputCreateError, match=r"report\.html"):
        html_format.write(Request(tmp_path / "absent", view, view, (), Style()))
