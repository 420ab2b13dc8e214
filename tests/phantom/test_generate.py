"""The generator: what is where, in which HU, and that a seed says it all."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import ndimage

from hirescam_cli.geometry import affine as affines
from hirescam_cli.geometry import reorient
from hirescam_cli.phantom import FINDINGS, Phantom, draw_findings, make_phantom

COARSE = (3.0, 3.0, 5.0)
SEED = 11

# label: limits of the median HU inside the mask
MEDIAN_HU = {
    "nodule": (-80, 75),
    "mass": (0, 75),
    "consolidation": (-150, 60),
    "pleural_effusion": (0, 22),
    "pneumothorax": (-1024, -970),
    "cardiomegaly": (30, 330),
    "pericardial_effusion": (0, 22),
    "pacemaker_or_defib": (1200, 3071),
}


@pytest.fixture(scope="module")
def everything() -> Phantom:
    """A chest with every abnormality, without noise."""
    return make_phantom(SEED, findings=FINDINGS, spacing_mm=(2.0, 2.0, 3.0), noise=False)


@pytest.fixture(scope="module")
def healthy() -> Phantom:
    """A normal chest, without noise."""
    return make_phantom(SEED, findings=(), spacing_mm=(2.0, 2.0, 3.0), noise=False)


def world_points(phantom: Phantom, where: np.ndarray) -> np.ndarray:
    return affines.apply(phantom.volume.affine_ras, np.argwhere(where))


def hu_at(phantom: Phantom, point: tuple[float, float, float]) -> int:
    index = affines.apply(np.linalg.inv(phantom.volume.affine_ras), point)
    i, j, k = np.rint(index).astype(int)
    return int(phantom.volume.array_ijk[i, j, k])


def test_a_seed_gives_the_same_phantom_and_another_seed_another() -> None:
    first, again, other = (make_phantom(s, spacing_mm=COARSE) for s in (5, 5, 6))
    assert first.findings == again.findings
    assert first.volume.provenance == again.volume.provenance
    assert first.lesions == again.lesions
    np.testing.assert_array_equal(first.volume.array_ijk, again.volume.array_ijk)
    assert first.volume.provenance.fingerprint != other.volume.provenance.fingerprint


def test_the_random_state_of_numpy_is_not_touched() -> None:
    np.random.seed(1)  # noqa: NPY002 - the legacy global state is the subject
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make_phantom(3, findings=(), spacing_mm=(5.0, 5.0, 8.0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_drawn_findings_hold_every_label_and_none_at_all() -> None:
    drawn = [draw_findings(seed) for seed in range(400)]
    counts = {name: sum(name in f for f in drawn) for name in FINDINGS}
    assert min(counts.values()) > 80
    assert max(counts.values()) < 160
    assert 40 < sum(not f for f in drawn) < 120
    assert max(len(f) for f in drawn) >= 5


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("label", FINDINGS)
def test_each_abnormality_alone_has_a_mask_of_its_own_hu(label: str, seed: int) -> None:
    phantom = make_phantom(seed, findings=[label], spacing_mm=(2.0, 2.0, 3.0), noise=False)
    assert phantom.findings == (label,)
    assert list(phantom.masks) == [label]
    mask = phantom.masks[label]
    assert mask.shape == phantom.volume.array_ijk.shape
    low, high = MEDIAN_HU[label]
    assert low <= np.median(phantom.volume.array_ijk[mask]) <= high
    assert {lesion.label for lesion in phantom.lesions} == {label}


@pytest.mark.parametrize("label", ["nodule", "mass", "consolidation", "pleural_effusion", "pneumothorax"])
def test_what_the_mask_marks_is_what_changed(label: str, healthy: Phantom) -> None:
    """The healthy chest of the same seed has the same anatomy: what differs was lung, and is in the mask."""
    phantom = make_phantom(SEED, findings=[label], spacing_mm=(2.0, 2.0, 3.0), noise=False)
    mask = phantom.masks[label]
    before, after = healthy.volume.array_ijk, phantom.volume.array_ijk
    assert np.median(before[mask]) < -700
    changed = np.abs(after.astype(int) - before) > 300
    assert changed[mask].mean() > 0.75 or label == "pneumothorax"
    assert (changed & mask).sum() > 0.7 * changed.sum() or label in ("consolidation", "pneumothorax")


def test_all_abnormalities_fit_into_one_chest(everything: Phantom) -> None:
    assert everything.findings == FINDINGS
    assert set(everything.masks) == set(FINDINGS)
    for label, mask in everything.masks.items():
        assert mask.any(), label


def test_sides_of_the_body(everything: Phantom, healthy: Phantom) -> None:
    heart = world_points(everything, everything.masks["cardiomegaly"]).mean(axis=0)
    device = world_points(everything, everything.masks["pacemaker_or_defib"]).mean(axis=0)
    metal = world_points(everything, everything.volume.array_ijk > 2400).mean(axis=0)
    bone = world_points(healthy, healthy.volume.array_ijk > 250)
    lung = world_points(healthy, (healthy.volume.array_ijk < -700) & (healthy.volume.array_ijk > -960))
    assert heart[0] < -5
    assert device[0] < -5
    middle = lung.mean(axis=0)
    assert heart[2] < middle[2]
    assert metal[1] > middle[1] + 40
    assert metal[2] > middle[2] + 40
    spine = bone[np.abs(bone[:, 0] - middle[0]) < 15]
    assert np.median(spine[:, 1]) < middle[1] - 40


def test_liver_under_the_right_lung_and_air_in_the_trachea(healthy: Phantom) -> None:
    array, affine = healthy.volume.array_ijk, healthy.volume.affine_ras
    points = affines.apply(affine, np.argwhere(array < -960))
    inside = points[(np.abs(points[:, 0]) < 25) & (points[:, 1] > -60) & (points[:, 1] < 60)]
    assert len(inside) > 100, "the trachea is air in the middle of the chest"
    lung = world_points(healthy, (array < -700) & (array > -960))
    assert lung[:, 2].max() == pytest.approx(inside[:, 2].max(), abs=60)
    floor = [np.percentile(lung[lung[:, 0] * side > 40][:, 2], 2) for side in (1, -1)]
    assert floor[0] > floor[1] - 5, "the right dome of the diaphragm is the higher one"


def test_pleural_fluid_lies_behind_and_below_and_free_air_in_front() -> None:
    fluid = make_phantom(8, findings=["pleural_effusion"], spacing_mm=COARSE)
    air = make_phantom(8, findings=["pneumothorax"], spacing_mm=COARSE)
    wet, free = (world_points(p, p.masks[p.findings[0]]).mean(axis=0) for p in (fluid, air))
    assert wet[1] < free[1] - 25
    assert wet[2] < free[2] - 25


def test_cardiothoracic_ratio() -> None:
    """Heart's width over the chest's inner width: above 0.5 with cardiomegaly, in every chest."""
    for seed in range(20, 26):
        phantom = make_phantom(seed, findings=["cardiomegaly"], spacing_mm=(2.0, 2.0, 4.0), noise=False)
        heart = world_points(phantom, phantom.masks["cardiomegaly"])
        air = (phantom.volume.array_ijk < -700) & (phantom.volume.array_ijk > -960)
        lung = world_points(phantom, ndimage.binary_opening(air, iterations=2))
        lung = lung[lung[:, 1] > heart[:, 1].mean() - 60, :]
        assert np.ptp(heart[:, 0]) / np.ptp(lung[:, 0]) > 0.5


@pytest.mark.parametrize("codes", ["RAS", "SAR", "IPL", "PIR"])
def test_an_orientation_reorders_voxels_and_changes_none(codes: str) -> None:
    reference = make_phantom(4, findings=["mass", "pacemaker_or_defib"], spacing_mm=COARSE)
    turned = make_phantom(4, findings=["mass", "pacemaker_or_defib"], spacing_mm=COARSE, orientation=codes)
    assert turned.volume.orientation == codes
    order, grid = reorient(turned.volume.grid, "LPS")
    np.testing.assert_array_equal(order.apply(turned.volume.array_ijk), reference.volume.array_ijk)
    np.testing.assert_allclose(grid.affine_ras, reference.volume.affine_ras, atol=1e-9)
    np.testing.assert_array_equal(order.apply(turned.masks["mass"]), reference.masks["mass"])
    assert turned.lesions == reference.lesions


def test_all_48_orientations_put_a_lesion_at_one_place() -> None:
    small = {"findings": ["mass"], "spacing_mm": (8.0, 8.0, 10.0), "noise": False}
    reference = make_phantom(4, **small)
    where = world_points(reference, reference.masks["mass"]).mean(axis=0)
    for axes in permutations(("LR", "PA", "IS")):
        for signs in product((0, 1), repeat=3):
            codes = "".join(pair[sign] for pair, sign in zip(axes, signs, strict=True))
            turned = make_phantom(4, orientation=codes, **small)
            np.testing.assert_allclose(
                world_points(turned, turned.masks["mass"]).mean(axis=0), where, atol=1e-6
            )


def test_spacing_and_shape_follow_the_patients_axes() -> None:
    phantom = make_phantom(9, findings=(), spacing_mm=(3.0, 4.0, 5.0), shape=(90, 80, 60), orientation="SPL")
    assert phantom.volume.array_ijk.shape == (60, 80, 90)
    np.testing.assert_allclose(phantom.volume.spacing_mm, (5.0, 4.0, 3.0))
    assert phantom.volume.array_ijk.dtype == np.int16


def test_lesion_truth_lies_in_the_mask_and_measures_it(everything: Phantom) -> None:
    inverse = np.linalg.inv(everything.volume.affine_ras)
    voxel_ml = abs(np.linalg.det(everything.volume.affine_ras[:3, :3])) / 1000
    for label in FINDINGS:
        own = [lesion for lesion in everything.lesions if lesion.label == label]
        assert own
        for lesion in own:
            i, j, k = np.rint(affines.apply(inverse, lesion.centre_mm)).astype(int)
            assert everything.masks[label][i, j, k]
        assert sum(lesion.volume_ml for lesion in own) == pytest.approx(
            everything.masks[label].sum() * voxel_ml
        )


def test_sizes_of_nodules_and_masses() -> None:
    """Fleischner's terms: a nodule is at most 3 cm across, a mass is larger."""
    for seed in range(30, 40):
        phantom = make_phantom(seed, findings=["nodule", "mass"], spacing_mm=(1.5, 1.5, 2.0), noise=False)
        ml = {
            label: [ln.volume_ml for ln in phantom.lesions if ln.label == label] for label in phantom.findings
        }
        sphere_30mm = 4 / 3 * np.pi * 15**3 / 1000
        assert max(ml["nodule"]) < sphere_30mm
        assert max(ml["mass"]) > 0.9 * sphere_30mm


def test_noise_has_no_mean_and_the_expected_strength(healthy: Phantom) -> None:
    noisy = make_phantom(SEED, findings=(), spacing_mm=(2.0, 2.0, 3.0))
    difference = (noisy.volume.array_ijk.astype(float) - healthy.volume.array_ijk)[60:100, 60:100, 20:40]
    assert abs(difference.mean()) < 1.0
    assert 4 < difference.std() < 28


def test_an_unknown_finding_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown finding 'gallstone'"):
        make_phantom(1, findings=["gallstone"])
