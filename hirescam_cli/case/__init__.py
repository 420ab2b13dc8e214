"""The case: its record, its folder, and whether it is done."""
