"""Networks that are not AxialNet train with the same command, their mask loss through autograd's map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hirescam_cli.api import explain
from hirescam_cli.case.listing import read_case
from hirescam_cli.case.record import Case
from hirescam_cli.errors import ModelError, UsageError
from hirescam_cli.model.spec import load_spec
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.settings import Settings
from hirescam_cli.train.checkpoint import Checkpoint, load_checkpoint
from hirescam_cli.train.learner import Learner
from hirescam_cli.train.losses import mask_loss
from hirescam_cli.train.run import train
from hirescam_cli.train.start import new_network
from tests.train import foreign
from tests.train.world import LABELS, World


@pytest.fixture
def described(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    known = {**ARCHITECTURES.ours, "two-layers": "tests.train.foreign:ARCHITECTURE"}
    monkeypatch.setattr(ARCHITECTURES, "ours", known)
    path = world.folder / "foreign.toml"
    path.write_text(foreign.MODEL.format(name="two-layers", parameters=""))
    return path


@pytest.mark.parametrize("loss", ["none", "two-sided", "papers", "lesions"])
def test_a_foreign_network_trains_and_explains(
    world: World, described: Path, tmp_path: Path, loss: str
) -> None:
    masks = {} if loss == "none" else {"masks": world.folder / "masks", "loss": loss}
    run = tmp_path / "run"
    result = train(world.request(run, model=str(described), lr=0.01, momentum=0.9, **masks))
    assert result.document is not None
    assert "calibrate none" in " ".join(result.document["fallbacks"])  # type: ignore[arg-type]
    assert (result.document["best"]["train"]["mask"] > 0) == (loss != "none")  # type: ignore[index]
    scan = world.folder / world.rows()[-1]["path"]
    settings = Settings(model=str(run / "model.toml"), labels="all", formats=("nifti",), device="cpu")
    assert explain({"scan": scan}, tmp_path, settings=settings).exit_code == 0
    case = read_case(tmp_path / "scan", "scan")
    assert isinstance(case, Case)
    row = next(
        r for r in (run / "validation.csv").read_text().splitlines() if r.startswith(world.rows()[-1]["id"])
    )
    assert case.label(LABELS[0]).logit == pytest.approx(float(row.split(",")[2]), abs=1e-5)


def test_a_resnet_of_monai_trains_and_explains(world: World, tmp_path: Path) -> None:
    """Its linear layer stands behind a mean: map and loss in closed form, calibration can be folded in."""
    pytest.importorskip("monai")
    path = world.folder / "monai.toml"
    parameters = "[parameters]\nwiden_factor = 0.125"
    path.write_text(
        foreign.MODEL.format(name="monai.resnet10", parameters=parameters).replace(
            "[32, 32, 16]", "[64, 64, 32]"
        )
    )
    run = tmp_path / "run"
    result = train(
        world.request(
            run, model=str(path), lr=0.01, momentum=0.9, masks=world.folder / "masks", loss="two-sided"
        )
    )
    assert result.document is not None
    assert "calibrate" not in " ".join(result.document["fallbacks"])  # type: ignore[arg-type]
    first, second = (epoch.train for epoch in checkpoint_of(run).progress.history)
    assert second.total < first.total
    assert first.mask > 0
    scan = world.folder / world.rows()[-1]["path"]
    settings = Settings(model=str(run / "model.toml"), labels="all", formats=("nifti",), device="cpu")
    assert explain({"scan": scan}, tmp_path, settings=settings).exit_code == 0
    case = read_case(tmp_path / "scan", "scan")
    assert isinstance(case, Case)
    assert all(label.maps["hirescam"].complete for label in case.labels)
    row = next(
        r for r in (run / "validation.csv").read_text().splitlines() if r.startswith(world.rows()[-1]["id"])
    )
    assert case.label(LABELS[0]).logit == pytest.approx(float(row.split(",")[2]), abs=1e-4)


def checkpoint_of(run: Path) -> Checkpoint:
    found = load_checkpoint(run)
    assert found is not None
    return found


def test_dropout_too_is_of_seed_epoch_and_place(world: World, described: Path, tmp_path: Path) -> None:
    bits = []
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        train(world.request(tmp_path / name, model=str(described), seed=seed, augment="none"))
        bits.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert bits[0] == bits[1] != bits[2]


def test_the_gradient_of_the_mask_loss_is_that_of_differences(described: Path) -> None:
    """Autograd's map is differentiated once more: against finite differences in a few weights."""
    spec = load_spec(str(described))
    network = new_network(spec, 3)
    network.module.double().eval()
    learner = Learner(network, spec, torch.device("cpu"), "fp32", with_maps=True)
    voxels = np.random.default_rng(0).uniform(-1000, 400, (32, 32, 16))

    def values(_voxels: object) -> torch.Tensor:
        return torch.from_numpy(voxels / 700.0)[None, None]

    learner._values = values  # type: ignore[method-assign]

    def loss() -> torch.Tensor:
        evidence = learner.run(voxels.astype(np.float32)).evidence
        assert evidence is not None
        forbidden = torch.zeros_like(evidence, dtype=torch.bool)
        forbidden[:, :2] = True
        return mask_loss("papers", evidence, forbidden)

    loss().backward()  # type: ignore[no-untyped-call]
    weights = {
        "features.0.weight": (2, 0, 1, 1, 1), "features.3.weight": (1, 4, 0, 2, 1), "tail.1.weight": (3, 3, 0, 0, 0),
        "last.weight": (1, 7),
    }  # fmt: skip
    for name, place in weights.items():
        parameter = network.module.get_parameter(name)
        assert parameter.grad is not None
        sides = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[place] += step
            sides.append(float(loss().detach()))
            with torch.no_grad():
                parameter[place] -= step
        slope = (sides[0] - sides[1]) / 2e-5
        assert float(parameter.grad[place]) == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_an_input_that_the_network_cannot_take_is_a_refusal(
    world: World, described: Path, tmp_path: Path
) -> None:
    described.write_text(described.read_text().replace("[32, 32, 16]", "[48, 32, 16]"))
    with pytest.raises(ModelError, match="cannot be trained on the input") as caught:
        train(world.request(tmp_path / "run", model=str(described)))
    assert caught.value.exit_code == 2


def test_a_target_that_does_not_exist_is_named(world: World, described: Path, tmp_path: Path) -> None:
    described.write_text(described.read_text() + '[explanation]\ntarget_layer = "middle"\n')
    with pytest.raises(ModelError, match="no layer 'middle'"):
        train(world.request(tmp_path / "run", model=str(described)))


def test_a_network_that_takes_the_volume_as_a_whole_has_no_warm_up(
    world: World, described: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="look at each position alone"):
        train(
            world.request(
                tmp_path / "run",
                model=str(described),
                masks=world.folder / "masks",
                loss="lesions",
                warm_up=2,
            )
        )
