"""The narrow network and the few slice groups that most tests of the engine share."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hirescam_cli.model.architectures.axialnet import AxialNet
from tests.explain.networks import GROUPS, groups_of_hu, tiny


@pytest.fixture(scope="module")
def network() -> AxialNet:
    return tiny()


@pytest.fixture(scope="module")
def hu() -> NDArray[np.int16]:
    return groups_of_hu(GROUPS)
