"""A label finds its mask by name, by slug, and by the same words in another spelling."""

from __future__ import annotations

import msgspec
import pytest

from hirescam_cli.evaluate.gather import mask_of
from tests.views import make_case


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pleural effusion", "pleural_effusion", "Pleural Effusion"), "pleural effusion"),
        (("pleural_effusion", "Pleural Effusion"), "pleural_effusion"),
        (("mass", "Pleural-Effusion"), "Pleural-Effusion"),
        (("effusion", "pleural effusions"), None),
    ],
)
def test_a_label_finds_its_mask(names: tuple[str, ...], expected: str | None) -> None:
    label = make_case(slices=9, side=24, shape_lps=(30, 20, 15)).view.label("nodule")
    label = msgspec.structs.replace(label, name="pleural effusion", slug="pleural_effusion")
    assert mask_of(label, names) == expected
