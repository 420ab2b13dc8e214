"""Synthetic chest CTs with known abnormalities: the material of the demonstration model and of many tests."""

from hirescam_cli.phantom.generate import LesionTruth, Phantom, draw_findings, make_phantom
from hirescam_cli.phantom.lesions import FINDINGS

__all__ = ["FINDINGS", "LesionTruth", "Phantom", "draw_findings", "make_phantom"]
