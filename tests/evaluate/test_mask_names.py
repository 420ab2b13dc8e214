"""A label finds its mask by name, by slug, and by the same words in another spelling."""

from __future__ import annotations

import pytest

from hirescam_cli.masks.names import assign


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("pleural effusion", "pleural_effusion", "Pleural Effusion"), "pleural effusion"),
        (("pleural_effusion", "Pleural; Effusion"), "pleural_effusion"),
        (("mass", "Pleural-Effusion"), "Pleural-Effusion"),
        (("effusion", "pleural effusions"), None),
    ],
)
def test_a_label_finds_its_mask(names: tuple[str, ...], expected: str | None) -> None:
    label = "pleural effusion"
    assert assign(names, [label], {label: "pleural_effusion"}).masks.get(label) == expected
