"""The weights of a narrow AxialNet."""

from __future__ import annotations

import pytest
from torch import Tensor

from hirescam_cli.model.architectures.axialnet import AxialNet
from tests.explain.networks import fill


@pytest.fixture
def state() -> dict[str, Tensor]:
    network = AxialNet(3, 2, (4, 4, 4, 4))
    fill(network)
    return dict(network.state_dict())
