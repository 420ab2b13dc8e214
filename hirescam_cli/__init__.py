"""hirescam: faithful, checkable explanations of CT classifiers."""

__version__ = "0.1.0"
