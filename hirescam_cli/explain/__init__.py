"""Explanations: CAM formulas as pure functions, and the engine that computes them for all labels in one
pass."""
