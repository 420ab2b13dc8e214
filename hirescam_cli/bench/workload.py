"""What is measured on: a synthetic scan, a network with random weights, and the sizes of it all."""

from __future__ import annotations

import copy
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nibabel
import numpy as np
import safetensors.torch
import torch
from isal import igzip
from numpy.typing import NDArray
from torch import Tensor, nn

from hirescam_cli import __version__
from hirescam_cli.bench.table import Goal
from hirescam_cli.device import resolve_device
from hirescam_cli.explain.feed import Feed
from hirescam_cli.geometry import Affine
from hirescam_cli.geometry.grid import Shape3
from hirescam_cli.model.architectures.axialnet import AxialNet, described
from hirescam_cli.model.contract import Network
from hirescam_cli.model.spec import ModelSpec, load_spec
from hirescam_cli.registries import ARCHITECTURES
from hirescam_cli.settings import Settings

_SMALL = """name = "bench-small"
intended_use = "Measuring hirescam; its weights are random."
architecture = "axialnet"
[parameters]
trunk_width = 8
head_channels = [16, 16, 8, 8]
[labels]
names = [{labels}]
[input]
axes = "IPL"
channels = "slab:3"
[[preparation]]
step = "resample"
spacing_mm = [0.8, 0.8, 0.8]
[[preparation]]
step = "window"
hu = [-1000, 1000]
to = [-1000, 1000]
levels = 2001
[[preparation]]
step = "pad_crop"
shape = [12, 420, 420]
[[preparation]]
step = "window"
hu = [-1000, 200]
[[preparation]]
step = "normalise"
subtract = 0.449
"""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    `shape`, `spacing_mm`: of the scan along i, j, k; `long`: slices of the scan for the memory row; `groups`:
    slice groups for rows about the network alone; `rounds`: interleaved repeats; `few`: overlays of a usual run;
    `series`, `plane`: slices and pixels of the DICOM series; `headers`: files to scan for their headers;
    `matrix`: rows of the dense product.
    """

    quick: bool
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    long: int
    groups: int
    rounds: int
    few: int
    series: int
    plane: int
    headers: int
    matrix: int


# Share of the cells in which a feature of `made_sparse` fires; maps then hold more evidence than most of the
# demonstration model's (a tenth of the cells above a fifth of the peak, there mostly 2 to 4 %).
FIRING = 0.03

FULL = Size(False, (512, 512, 400), (0.65625, 0.65625, 0.75), 600, 32, 5, 10, 300, 512, 10_000, 4096)
QUICK = Size(True, (256, 256, 10), (1.3125, 1.3125, 0.8), 12, 4, 3, 2, 12, 64, 36, 1024)


def synthetic_scan(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """HU [i, j, k]: a noisy body with two lungs in air, so that it compresses like a real scan.

    Stored with the first axis fastest, as NIfTI files hold it.
    """
    rng = np.random.default_rng(seed)
    width, depth, slices = shape
    x, y = np.linspace(-1, 1, width)[:, None], np.linspace(-1, 1, depth)[None, :]
    body = (x / 0.85) ** 2 + (y / 0.6) ** 2 < 1
    array = np.empty((slices, depth, width), dtype=np.int16)
    noise = rng.normal(0.0, 25.0, (depth, width))
    for k in range(slices):
        reach = 0.25 + 0.1 * np.sin(np.pi * k / slices)
        lungs = ((np.abs(x) - 0.4) / reach) ** 2 + (y / 0.45) ** 2 < 1
        plane = np.where(lungs, -850.0, 40.0) + np.roll(noise, (37 * k, 101 * k), axis=(0, 1)).T
        array[k] = np.where(body, plane, -1000.0).T
    return np.transpose(array, (2, 1, 0))


def scan_affine(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Affine:
    """Index to RAS mm of an axial scan stored as LPS, like most CT, centred on the origin."""
    affine = np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def write_scan(path: Path, array_ijk: NDArray[np.int16], affine_ras: Affine) -> Path:
    """A scan as .nii.gz."""
    image = nibabel.Nifti1Image(array_ijk, affine_ras)
    image.set_qform(affine_ras, 1)
    path.write_bytes(igzip.compress(image.to_bytes(), 1))
    return path


def randomise(network: AxialNet, seed: int = 0) -> AxialNet:
    """Fill every tensor so that activations neither die nor explode; in evaluation mode."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            uniform = torch.rand(tensor.shape, generator=random)
            if tensor.ndim == 4:
                tensor.copy_((2 * uniform - 1) * (6 / tensor[0].numel()) ** 0.5)
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + uniform)
            elif name.endswith("weight"):
                tensor.copy_(0.8 + 0.4 * uniform)
            else:
                tensor.copy_(0.2 * uniform - 0.1)
    return network.eval()


def made_sparse(network: AxialNet, values: Tensor) -> AxialNet:
    """A copy whose last convolution answers like a trained one: each feature fires in FIRING of the cells.

    `values`: network values [n, slices, side, side] on which it shall.
    """
    sparse = copy.deepcopy(network)
    convolutions = [m for m in sparse.modules() if isinstance(m, nn.Conv2d) and m is not sparse.fc]
    last, outputs = convolutions[-1], []
    assert last.bias is not None
    # A copy, since the ReLU that follows overwrites what it is given.
    handle = last.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.clone()))
    with torch.no_grad():
        sparse.scores(values)
        handle.remove()
        last.bias -= torch.quantile(outputs[0].transpose(0, 1).flatten(1), 1.0 - FIRING, dim=1)
    return sparse


class Workload:
    """What rows are measured on, made when first asked for. `folder`: where files may be written."""

    def __init__(
        self, size: Size, folder: Path, device: str, threads: int, say: Callable[[str], None]
    ) -> None:
        self.size, self.folder, self.threads, self.say = size, folder, threads, say
        self.device, _ = resolve_device(device)
        torch.set_num_threads(threads)

    def goal(self, goal: Goal) -> Goal | None:
        """A goal that holds for the full size only."""
        return None if self.size.quick else goal

    @cached_property
    def spec(self) -> ModelSpec:
        """The model: axialnet-83, or a small one of the same topology."""
        if not self.size.quick:
            return load_spec("axialnet-83")
        path = self.folder / "bench-small.toml"
        path.write_text(_SMALL.format(labels=", ".join(f'"finding {n}"' for n in range(6))), encoding="utf-8")
        return load_spec(str(path))

    @property
    def model_option(self) -> str:
        """What names the model on the command line."""
        return str(self.spec.source) if self.size.quick else self.spec.name

    @cached_property
    def network(self) -> AxialNet:
        """The model's network with random weights."""
        architecture = ARCHITECTURES.find(self.spec.architecture)
        module = architecture.build(self.spec.parameters, len(self.spec.labels)).module
        assert isinstance(module, AxialNet)
        return randomise(module)

    def contract(self, network: AxialNet | None = None) -> Network:
        """What the engine takes: the model's network, or another of the same kind."""
        return described(network or self.network)

    @property
    def feed(self) -> Feed:
        """How voxels become what the network takes."""
        return Feed.of(self.spec.preparation, self.contract().inputs)

    @property
    def shape(self) -> Shape3:
        """Voxels of the network's input."""
        assert self.spec.preparation.shape is not None
        return self.spec.preparation.shape

    @cached_property
    def weights(self) -> Path:
        """The random weights as a checkpoint."""
        return self.checkpoint(self.network, "random")

    def checkpoint(self, network: AxialNet, name: str) -> Path:
        """A network's weights as a checkpoint."""
        path = self.folder / f"{name}.safetensors"
        tensors = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
        safetensors.torch.save_file(tensors, path)
        return path

    @cached_property
    def array_ijk(self) -> NDArray[np.int16]:
        """The scan's voxels in HU."""
        return synthetic_scan(self.size.shape)

    @cached_property
    def affine_ras(self) -> Affine:
        """The scan's affine."""
        return scan_affine(self.size.shape, self.size.spacing_mm)

    @cached_property
    def scan_path(self) -> Path:
        """The scan as a file."""
        return write_scan(self.folder / "scan.nii.gz", self.array_ijk, self.affine_ras)

    def groups(self, count: int, seed: int = 1) -> NDArray[np.int16]:
        """Slice groups of random HU [count, slices per group, side, side]."""
        side = self.shape[1]
        rng = np.random.default_rng(seed)
        return rng.integers(-1000, 1000, (count, self.slices_per_group, side, side), dtype=np.int16)

    @property
    def slices_per_group(self) -> int:
        """Slices that the network takes at a time."""
        return self.spec.preparation.slab

    @cached_property
    def settings(self) -> Settings:
        """Options of a usual run without pictures."""
        base = Settings(model=self.model_option, weights=(self.weights,), formats=("nifti",))
        return replace(base, device=str(self.device), labels=f"top:{self.size.few}")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def machine(workload: Workload) -> dict[str, object]:
    """What the figures were measured on, and with which versions."""
    versions = {}
    for package in ("torch", "numpy", "SimpleITK", "nibabel", "isal", "captum", "grad-cam"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    cuda = workload.device.type == "cuda"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": workload.threads,
        "device": torch.cuda.get_device_name(workload.device) if cuda else str(workload.device),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "hirescam": __version__,
        **versions,
        "model": workload.spec.name,
    }
