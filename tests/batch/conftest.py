"""Fixtures of the batch tests: one tiny model, and a process that forks runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.forks import Forks
from tests.batch.world import make_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Description of a tiny network with random weights."""
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Quick runs in child processes."""
    server = Forks()
    yield server
    server.close()
