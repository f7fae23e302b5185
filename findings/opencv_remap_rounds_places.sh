#!/usr/bin/env bash
# cv2.remap of OpenCV 4 samples float32 only at multiples of 1/32 px, whatever its maps say; OpenCV 5 at the very place.
#
# One expects that an image of float32, sampled through maps of float32, is interpolated where the maps point, as SciPy and
# PyTorch do it. Seen with opencv-python-headless 4.14.0.94 (2026), x86-64 Linux: for noise in 0..1 the error against the
# formula of INTER_LINEAR or INTER_CUBIC (a = -0.75) is up to 0.02, 0.003 to 0.004 on average, and gone (below 1e-6) where
# places are rounded to 1/32 px. With 5.0.0.93 it is below 1e-6 everywhere, with the same call.
# So slow flows move in steps, and tests of equality with another library need 5.0, or a bound of some hundredths.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
failed=0
for version in 4.14.0.94 5.0.0.93; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6 "opencv-python-headless==$version"
    "$folder/$version/bin/python" - <<'PYTHON' || failed=1
import cv2
import numpy as np

random = np.random.default_rng(0)
image = random.random((64, 64), dtype=np.float32)
y, x = np.mgrid[8:56, 8:56].astype(np.float32)
x, y = x + random.random(x.shape, dtype=np.float32), y + random.random(y.shape, dtype=np.float32)

def cubic(share, a=-0.75):
    near, far = [1 - share, share], [2 - share, 1 + share]
    inner = [(a + 2) * d**3 - (a + 3) * d**2 + 1 for d in (near[1], near[0])]
    outer = [a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a for d in (far[1], far[0])]
    return [outer[0], inner[0], inner[1], outer[1]]

def formula(x, y, linear):
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - column).astype(float), (y - row).astype(float)
    weigh, first = (lambda share: [1 - share, share], 0) if linear else (cubic, -1)
    return sum(
        v * h * image[row + j + first, column + i + first]
        for j, v in enumerate(weigh(down)) for i, h in enumerate(weigh(across))
    )

exact = cv2.__version__.startswith("5.")
for name, how, linear in (("linear", cv2.INTER_LINEAR, True), ("cubic", cv2.INTER_CUBIC, False)):
    given = np.abs(cv2.remap(image, x, y, how) - formula(x, y, linear)).max()
    rounded = [np.round(places * 32) / 32 for places in (x, y)]
    at_steps = np.abs(cv2.remap(image, *rounded, how) - formula(*rounded, linear)).max()
    print(f"OpenCV {cv2.__version__}, {name}: error {given:.1e}, at multiples of 1/32 px {at_steps:.1e}")
    assert at_steps < 1e-6 and (given < 1e-6 if exact else 0.005 < given < 0.05)
PYTHON
done
[ "$failed" = 0 ] || { echo "this has changed" >&2; exit 1; }
