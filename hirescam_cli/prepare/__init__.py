"""From a volume in HU to what the network is fed: an ordered list of steps, each spatial one an affine.

All of it together is one affine: `ModelInput.affine_ras` says where each input voxel lies, so nothing has to be undone
later.
"""

from hirescam_cli.prepare.preparation import Coverage, ModelInput, Preparation, coverage, prepare, radchest

__all__ = ["Coverage", "ModelInput", "Preparation", "coverage", "prepare", "radchest"]
