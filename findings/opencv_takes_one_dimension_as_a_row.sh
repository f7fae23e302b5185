#!/usr/bin/env bash
# OpenCV 5 takes an array of one dimension for a row, OpenCV 4 for a column, so that filters along it do nothing.
#
# One expects that a series of N numbers, dilated by a column of three or blurred over one by three, is filtered by OpenCV 5
# as it was by OpenCV 4. Seen on x86-64 Linux: with opencv-python-headless 4.14.0.94 the results are columns (N, 1) and are
# filtered; with 5.0.0.93, from the same calls and without a warning, they are rows (1, N), and every value is as it was.
# Whoever supports both gives such series two dimensions: series[:, None].
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
failed=0
for version in 4.14.0.94 5.0.0.93; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 "opencv-python-headless==$version"
    "$folder/$version/bin/python" - <<'PYTHON' || failed=1
import cv2
import numpy as np

one = np.zeros(7, np.uint8)
one[3] = 1
slope = np.arange(7.0)
column = np.ones((3, 1), np.uint8)
for name, given in (("one dimension", lambda series: series), ("two dimensions", lambda series: series[:, None])):
    wider, smooth = cv2.dilate(given(one), column), cv2.blur(given(slope), (1, 3), borderType=cv2.BORDER_REPLICATE)
    print(f"OpenCV {cv2.__version__}, {name}: {wider.shape}, dilated {wider.ravel()}, blurred {smooth.ravel().round(2)}")
    filtered = name == "two dimensions" or cv2.__version__.startswith("4.")
    assert wider.shape == smooth.shape == ((7, 1) if filtered else (1, 7))
    assert wider.sum() == (3 if filtered else 1) and np.array_equal(smooth.ravel(), slope) != filtered
PYTHON
done
[ "$failed" = 0 ] || { echo "this has changed" >&2; exit 1; }
