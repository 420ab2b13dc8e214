"""The preparation steps that ship with hirescam, one module each."""
