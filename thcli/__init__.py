"""thgen: a talking-head video from a short clip of a person and any speech recording."""

__version__ = "0.1.0"
