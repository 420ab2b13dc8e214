"""A narrow network, a made-up scan, and the case that others are compared with."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
from numpy.typing import NDArray

from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.pipeline import (
    Session,
    open_session,
)
from hirescam_cli.settings import Settings
from tests.explain.networks import tiny
from tests.io.dicom_factory import expected_affine_ras
from tests.models import radchest_toml
from tests.pipeline.pipeline_world import (
    BOTH,
    MODEL,
    ORIGIN_LPS,
    SPACING,
    Case,
    run,
    save_nifti,
)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("model")
    safetensors.torch.save_file(tiny(5).state_dict(), folder / "tiny.safetensors")
    (folder / "tiny.toml").write_text(MODEL + radchest_toml((5.0, 1.0, 1.0), (12, 420, 420)))
    return load_spec(str(folder / "tiny.toml"))


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings(methods=BOTH, labels="all", formats=("nifti",), device="cpu")


@pytest.fixture(scope="module")
def session(settings: Settings, spec: ModelSpec) -> Session:
    return open_session(settings, spec)


@pytest.fixture(scope="module")
def hu() -> NDArray[np.int16]:
    """A scan in LPS order, 300 x 308 x 60.5 mm, smooth in places and noisy in others."""
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 300, size=(50, 44, 11))
    array[10:30, 12:30, 3:8] = rng.integers(-100, 100)
    return array.astype(np.int16)


@pytest.fixture(scope="module")
def base(session: Session, hu: NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The case that others are compared with: the scan as NIfTI in LPS order."""
    folder = tmp_path_factory.mktemp("base")
    affine = expected_affine_ras(SPACING, ORIGIN_LPS)
    return run(session, save_nifti(folder / "scan.nii.gz", hu, affine), folder / "out")
