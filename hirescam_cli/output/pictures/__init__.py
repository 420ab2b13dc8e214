"""Pictures of a case: PNG and GIF, drawn from a `CaseView`.

`CASE_PICTURES` holds the file names in a case folder; `{method}` and `{label}` stand for the method and the
label's file-safe name.
"""

from hirescam_cli.output.pictures.compare import draw_comparison
from hirescam_cli.output.pictures.figure import draw_label
from hirescam_cli.output.pictures.gif import draw_volume_gif
from hirescam_cli.output.pictures.scores import draw_slice_scores

CASE_PICTURES = {
    "label": "{method}.{label}.png",
    "gif": "{method}.{label}.gif",
    "slice-scores": "slice-scores.png",
    "comparison": "comparison.{label}.png",
}

__all__ = ["CASE_PICTURES", "draw_comparison", "draw_label", "draw_slice_scores", "draw_volume_gif"]
