"""What the installed package needs: pinned for tests, and nothing under the GPL."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def _needed(name: str, seen: dict[str, Distribution]) -> None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen:
        return
    seen[key] = found
    for line in found.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _needed(requirement.name, seen)


def _licence(found: Distribution) -> str:
    """The licence's name from the metadata: expression, first line of the field, classifiers."""
    fields = [
        found.metadata.get("License-Expression"),
        (found.metadata.get("License") or "").partition("\n")[0],
    ]
    fields += [line for line in found.metadata.get_all("Classifier", []) if line.startswith("License ::")]
    return " ".join(text for text in fields if text)


def test_no_core_dependency_is_under_the_gpl() -> None:
    needed: dict[str, Distribution] = {}
    _needed("hirescam-cli", needed)
    assert {"torch", "pydicom", "nibabel", "python-gdcm"} <= set(needed)
    under_gpl = [n for n, found in needed.items() if re.search(r"\b(A?GPL|General Public)", _licence(found))]
    assert under_gpl == []
    assert "pylibjpeg-libjpeg" not in needed


def test_every_core_dependency_is_pinned_for_tests() -> None:
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    needed: dict[str, Distribution] = {}
    _needed("hirescam-cli", needed)
    assert set(needed) - {"hirescam-cli"} <= pinned | {"setuptools"}
