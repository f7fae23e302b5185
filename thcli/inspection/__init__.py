"""Measurements of a clip or a recording, and advice on their use."""
