"""Finding and reading scans: one reader per format, each returning a `Volume`."""
