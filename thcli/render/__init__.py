"""Rendering: the 3D projector and motion matcher of §4.1, the geometric renderer, and Θ over its images (§4.2)."""
