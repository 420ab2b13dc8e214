"""Pipelines that hospitals run: what each says by folders and variables, and how it wants results."""
