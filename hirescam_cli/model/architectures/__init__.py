"""The architectures that ship with hirescam, one module each."""
