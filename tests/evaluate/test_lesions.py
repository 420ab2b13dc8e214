"""Components against scipy's, and local maxima by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hirescam_cli.evaluate.lesions import components, local_maxima


@pytest.mark.parametrize("seed", range(40))
def test_components_are_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 12, 3))) < rng.choice([0.03, 0.1, 0.3, 0.9])
    names, count = ndimage.label(mask, np.ones((3, 3, 3)))
    found = list(components(mask))
    assert len(found) == count
    for part in found:
        (name,) = np.unique(names[part])
        assert name > 0
        assert np.array_equal(part, names == name)


def test_corners_join_and_an_empty_mask_has_none() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    assert list(components(mask)) == []
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert [int(part.sum()) for part in components(mask)] == [2, 1]


def test_local_maxima_highest_first_and_equal_neighbours_once() -> None:
    cam = np.zeros((5, 5, 5))
    cam[1, 1, 1], cam[1, 1, 2] = 3.0, 2.0
    cam[4, 4, 4] = 5.0
    cam[0, 4, 0] = cam[0, 4, 1] = 1.0
    assert local_maxima(cam, 10) == [(4, 4, 4), (1, 1, 1), (0, 4, 0)]
    assert local_maxima(cam, 1) == [(4, 4, 4)]
    assert local_maxima(cam - 10.0, 3) == []
