"""Layout of faces in the input of identity networks: ArcFace's alignment."""

from __future__ import annotations

import numpy as np

ARCFACE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Positions [5, 2] of eyes, nose tip and mouth corners in ArcFace's images, px; pixel centres at whole values."""
ALIGNED = 112
"""Side of ArcFace's images, px."""
