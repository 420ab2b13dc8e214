"""Models: their TOML descriptions, architectures and checkpoints."""
