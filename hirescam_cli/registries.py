"""What varies, as lists: a new one is a module of its own and a line here, or an entry point of another package.

The input formats are a list of their own, `io.formats.FORMATS`, since a file is shown to them in their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hirescam_cli.errors import ModelError
from hirescam_cli.registry import Registry

if TYPE_CHECKING:
    from hirescam_cli.explain.method import Method
    from hirescam_cli.model.contract import Architecture
    from hirescam_cli.prepare.step import StepKind
    from hirescam_cli.results.format import ResultFormat

METHODS: Registry[Method] = Registry(
    "method",
    "hirescam.methods",
    "hirescam_cli.explain.method:Method",
    {
        "hirescam": "hirescam_cli.explain.methods.hirescam:METHOD",
        "gradcam": "hirescam_cli.explain.methods.gradcam:METHOD",
        "xgradcam": "hirescam_cli.explain.methods.xgradcam:METHOD",
        "layercam": "hirescam_cli.explain.methods.layercam:METHOD",
        "cam": "hirescam_cli.explain.methods.cam:METHOD",
        "layer-ig": "hirescam_cli.explain.methods.layer_ig:METHOD",
        "ablation-cam": "hirescam_cli.explain.methods.ablation_cam:METHOD",
    },
)

RESULT_FORMATS: Registry[ResultFormat] = Registry(
    "result format",
    "hirescam.result_formats",
    "hirescam_cli.results.format:ResultFormat",
    {
        "nifti": "hirescam_cli.results.nifti:FORMAT",
        "png": "hirescam_cli.results.png:FORMAT",
        "gif": "hirescam_cli.results.gif:FORMAT",
        "html": "hirescam_cli.results.html:FORMAT",
        "dicom-pm": "hirescam_cli.results.dicom.formats:PARAMETRIC_MAP",
        "dicom-sr": "hirescam_cli.results.dicom.formats:REPORT",
        "dicom-sc": "hirescam_cli.results.dicom.formats:CAPTURE",
        "dicom-seg": "hirescam_cli.results.dicom.formats:SEGMENTATION",
    },
)

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    "hirescam.architectures",
    "hirescam_cli.model.contract:Architecture",
    {
        "axialnet": "hirescam_cli.model.architectures.axialnet:ARCHITECTURE",
        "ctnet": "hirescam_cli.model.architectures.ctnet:ARCHITECTURE",
        "merlin": "hirescam_cli.model.architectures.merlin:ARCHITECTURE",
        "sybil": "hirescam_cli.model.architectures.sybil:ARCHITECTURE",
        "video.r3d_18": "hirescam_cli.model.architectures.video:R3D_18",
        "video.mc3_18": "hirescam_cli.model.architectures.video:MC3_18",
        "video.r2plus1d_18": "hirescam_cli.model.architectures.video:R2PLUS1D_18",
        "monai.resnet10": "hirescam_cli.model.architectures.monai_networks:RESNET10",
        "monai.resnet18": "hirescam_cli.model.architectures.monai_networks:RESNET18",
        "monai.resnet34": "hirescam_cli.model.architectures.monai_networks:RESNET34",
        "monai.resnet50": "hirescam_cli.model.architectures.monai_networks:RESNET50",
        "monai.resnet101": "hirescam_cli.model.architectures.monai_networks:RESNET101",
        "monai.resnet152": "hirescam_cli.model.architectures.monai_networks:RESNET152",
        "monai.resnet200": "hirescam_cli.model.architectures.monai_networks:RESNET200",
        "monai.densenet121": "hirescam_cli.model.architectures.monai_networks:DENSENET121",
        "monai.densenet169": "hirescam_cli.model.architectures.monai_networks:DENSENET169",
        "monai.densenet201": "hirescam_cli.model.architectures.monai_networks:DENSENET201",
        "monai.densenet264": "hirescam_cli.model.architectures.monai_networks:DENSENET264",
        "monai.senet154": "hirescam_cli.model.architectures.monai_networks:SENET154",
        "monai.seresnet50": "hirescam_cli.model.architectures.monai_networks:SERESNET50",
        "monai.seresnet101": "hirescam_cli.model.architectures.monai_networks:SERESNET101",
        "monai.seresnet152": "hirescam_cli.model.architectures.monai_networks:SERESNET152",
        "monai.seresnext50": "hirescam_cli.model.architectures.monai_networks:SERESNEXT50",
        "monai.seresnext101": "hirescam_cli.model.architectures.monai_networks:SERESNEXT101",
    },
    error=ModelError,
    code="model-architecture",
)

STEPS: Registry[StepKind] = Registry(
    "preparation step",
    "hirescam.preparation",
    "hirescam_cli.prepare.step:StepKind",
    {
        "resample": "hirescam_cli.prepare.steps.resample:STEP",
        "resize": "hirescam_cli.prepare.steps.resize:STEP",
        "crop_foreground": "hirescam_cli.prepare.steps.crop_foreground:STEP",
        "pad_crop": "hirescam_cli.prepare.steps.pad_crop:STEP",
        "window": "hirescam_cli.prepare.steps.window:STEP",
        "normalise": "hirescam_cli.prepare.steps.normalise:STEP",
    },
    error=ModelError,
    code="model-toml",
)
