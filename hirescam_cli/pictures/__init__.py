"""Pictures of a case: PNG and GIF, drawn from a `CaseView`."""

from hirescam_cli.pictures.compare import draw_comparison
from hirescam_cli.pictures.figure import draw_label
from hirescam_cli.pictures.gif import draw_volume_gif
from hirescam_cli.pictures.mosaic import draw_mosaic
from hirescam_cli.pictures.scores import draw_slice_scores

__all__ = ["draw_comparison", "draw_label", "draw_mosaic", "draw_slice_scores", "draw_volume_gif"]
