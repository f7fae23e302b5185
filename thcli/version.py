"""The version of thgen."""

__version__ = "0.1.0"
