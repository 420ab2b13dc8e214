"""The options of a case: which are told in its summary, and which are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from hirescam_cli.case.identity import params_hash
from hirescam_cli.errors import UsageError
from hirescam_cli.io.scan import ReadOptions
from hirescam_cli.settings import Settings

CHANGED: dict[str, dict[str, Any]] = {
    "method": {"methods": ("gradcam",)},
    "labels": {"labels": "all"},
    "threshold": {"threshold": 0.25},
    "target-layer": {"target_layer": "conv2d.5"},
    "placement": {"placement": "stretch"},
    "grid": {"grid": "cam"},
    "format": {"formats": ("png",)},
    "freeze": {"freeze": "none"},
    "signed": {"signed": True},
    "seg-fraction": {"seg_fraction": 0.3},
    "compress": {"compress": 3},
    "identifiers": {"identifiers": "none"},
    "prefer": {"read": ReadOptions(prefer="qform")},
    "assume-affine": {"read": ReadOptions(assume_affine=True)},
    "allow-gaps": {"read": ReadOptions(allow_gaps=True)},
}
UNHASHED = {"device": "cuda", "chunk": 3, "weights": Path("w"), "model": "other", "precision": "bf16"}


@pytest.mark.parametrize("option", CHANGED)
def test_an_option_that_decides_the_content_is_told(option: str) -> None:
    usual = Settings()
    before, after = usual.identity(), replace(usual, **CHANGED[option]).identity()
    assert params_hash(before, {}, "", "fp32") != params_hash(after, {}, "", "fp32")
    assert [name for name in before if before[name] != after[name]] == [option]


def test_every_field_is_told_or_decides_nothing() -> None:
    told = {name for changes in CHANGED.values() for name in changes}
    assert told | set(UNHASHED) == {field.name for field in fields(Settings)}
    usual = Settings()
    other = replace(usual, **UNHASHED, read=ReadOptions(series="1.2.3", max_voxels=7))
    assert other.identity() == usual.identity()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"formats": ("png", "nifti")}, {"formats": ("nifti", "png")}),
        ({"labels": "nodule,mass"}, {"labels": " mass , nodule,mass,"}),
        ({"labels": "top:5"}, {"labels": "top:05"}),
    ],
)
def test_what_is_told_does_not_depend_on_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert Settings(**one).identity() == Settings(**other).identity()


@pytest.mark.parametrize("series", ["foo", "", "1.2.x", "Largest", "1.2\n"])
def test_a_series_that_is_no_uid_is_refused(series: str) -> None:
    with pytest.raises(UsageError, match="--series") as caught:
        Settings(read=ReadOptions(series=series))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("series", ["all", "largest", "1.2.840.113619.2"])
def test_a_series_is_a_word_or_a_uid(series: str) -> None:
    assert Settings(read=ReadOptions(series=series)).read.series == series
