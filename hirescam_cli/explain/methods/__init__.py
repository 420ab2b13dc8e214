"""The methods that ship with hirescam, one module each."""
