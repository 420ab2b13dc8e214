"""Finding and reading scans: `discover` finds them, `read` turns one into a `Volume`."""

from hirescam_cli.io.discover import discover
from hirescam_cli.io.reading import read
from hirescam_cli.io.scan import Discovery, Ignored, InputPath, ReadOptions, Scan

__all__ = ["Discovery", "Ignored", "InputPath", "ReadOptions", "Scan", "discover", "read"]
