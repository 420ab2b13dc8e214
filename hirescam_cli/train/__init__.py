"""Training a network from scans and a table of labels; `run.train` does all of it."""
