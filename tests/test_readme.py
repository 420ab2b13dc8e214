"""The README says what is so: its figures are those of the files, its commands and files exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hirescam_cli.model.spec import load_spec
from tests.phantom.held_out import PLACEMENTS, finds, knows, papers

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _between(start: str) -> str:
    begin = README.index(start) + len(start)
    return README[begin : README.index("<!-- end -->", begin)].strip()


def test_held_out_figures_are_those_of_the_shipped_weights() -> None:
    figures = json.loads((ROOT / "sample_data" / "demo-heldout.json").read_text(encoding="utf-8"))
    assert (figures["weights_sha256"],) == load_spec("demo").weights_sha256
    assert _between("<!-- held-out -->") == knows(figures)
    for placement in PLACEMENTS:
        assert _between(f"<!-- finds {placement} -->") == finds(figures, placement)
    assert _between("<!-- papers -->") == papers(figures)


def test_pictures_and_linked_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 4
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for link in links:
        assert link in anchors if link.startswith("#") else (ROOT / link).is_file(), link


def test_every_command_named_exists() -> None:
    from typer.main import get_command

    from hirescam_cli.cli.app import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"hirescam ([a-z]+)", README)) - {"is", "shows", "and", "struck", "multiplies"}
    commands = {word for word in named if f"`hirescam {word}" in README or f"\nhirescam {word}" in README}
    assert known <= commands
    assert commands <= known


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "sample_data").rglob("*") if path.is_file()) < 12e6
