"""What the tests of checkpoint share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hirescam_cli.errors import ModelError
from hirescam_cli.model.load import load_model
from hirescam_cli.model.spec import ModelSpec
from tests.models import axial

PARAMETERS = {"trunk_width": 2, "head_channels": [4, 4, 4, 4]}


def spec_of(**changes: Any) -> ModelSpec:
    spec = ModelSpec(
        name="tiny",
        description="",
        intended_use="tests",
        architecture="axialnet",
        parameters=PARAMETERS,
        labels=("nodule", "mass", "effusion"),
        thresholds=(0.5, 0.5, 0.5),
        preparation=axial(),
        target_layer="conv2d.7",
        placement="stretch",
    )
    return replace(spec, **changes)


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path, code: str, spec: ModelSpec | None = None) -> str:
    """The sentence with which `path` is refused."""
    with pytest.raises(ModelError) as caught:
        load_model(spec or spec_of(), (path,))
    assert (caught.value.code, caught.value.exit_code) == (code, 2)
    assert path.name in caught.value.message
    assert str(path.parent) not in str(caught.value)
    assert caught.value.hint
    return caught.value.message
