"""Masks of lesions and organs, on any grid in space, found for the cases of a run."""
