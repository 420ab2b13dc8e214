"""A made-up case and the texts of its pictures."""

from __future__ import annotations

import pytest

from hirescam_cli.pictures.canvas import Canvas
from tests.views import Known, make_case


@pytest.fixture(scope="module")
def known() -> Known:
    return make_case()


@pytest.fixture
def texts(monkeypatch) -> list[str]:
    """Every text drawn from here on."""
    drawn: list[str] = []
    original = Canvas.text

    def recording(self, x, y, text, *args, **kwargs):
        drawn.append(text)
        return original(self, x, y, text, *args, **kwargs)

    monkeypatch.setattr(Canvas, "text", recording)
    return drawn
