"""OpenCV, on one thread: processes are forked while frames are made, which its own threads would not survive."""

from __future__ import annotations

import cv2

cv2.setNumThreads(1)

__all__ = ["cv2"]
