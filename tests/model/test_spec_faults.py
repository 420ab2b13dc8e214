"""All that is wrong with a description is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hirescam_cli.errors import ModelError
from hirescam_cli.model.spec import load_spec
from tests.model.test_spec import write


def test_all_faults_are_told_at_once_each_with_a_line_to_write(tmp_path: Path) -> None:
    text = """
name = 7
architecture = "resnet19"
colour = "red"
[weights]
sha256 = "abc"
[input]
axes = "RAL"
channels = "slab"
[[preparation]]
step = "whiten"
[[preparation]]
step = "resample"
spacing_mm = [1.0]
[explanation]
freeze = ["attention"]
placement = "middle"
"""
    with pytest.raises(ModelError) as caught:
        load_spec(write(tmp_path, text))
    message = caught.value.message
    for part in (
        "name is 7", "intended_use is missing", "'resnet19'", "'colour'", "labels is missing", "sha256 is 'abc'",
        "axes is 'RAL'", "channels is 'slab'", "step is 'whiten'", "spacing_mm is [1.0]", "freeze is 'attention'",
        "placement is 'middle'",
    ):  # fmt: skip
        assert part in message
    assert message.startswith("mine.toml has 12 faults:")
    for line in (
        'name = "..."',
        "[labels]",
        'axes = "RAS"',
        "spacing_mm = [1.0, 2.0, 3.0]",
        'freeze = ["softmax"]',
    ):
        assert line in message
    assert (caught.value.code, caught.value.exit_code) == ("model-toml", 2)
