"""Temporal warping error: change of the image from frame to frame that motion does not explain.

Lai et al. warp the following frame onto each frame by the optical flow between them and take the mean squared
difference where nothing is hidden. They estimate the flow by FlowNet 2 on the unprocessed video. Here the flow is that
of the measured video itself, because a video made from audio alone moves differently from the real one. It is estimated
by scikit-image's iterative Lucas-Kanade on luma without its slow changes in space, so that a change of light is not
taken for motion. Figures are therefore comparable within a table, but not with published ones.

A pixel counts as hidden where the flow forward and back does not return to it (Sundaram et al., ECCV 2010, as in Lai et
al.), or where it leaves the image. A still video has no error at all, so the best figure is that of the real video.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.records import Float, Image

STEP = 5
"""Distance in frames between the pairs of neighbouring frames that are measured; estimating flow is slow."""
SIDE = 128
"""Side in px of the images between which flow is estimated."""
RADIUS, WARPS = 4, 5
"""Half the width of the flow estimator's window in px, and its number of refinements."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean error over every ``STEP``th pair of neighbouring frames of the predicted video."""
    frames = pair.predicted.frames
    errors = [warping_error(frames[t], frames[t + 1]) for t in range(0, len(frames) - 1, STEP)]
    known = [error for error in errors if error is not None]
    if not known:
        return not_computed(f"{pair.predicted.name}: no two neighbouring frames of which one moves into the other")
    return Figure(float(np.mean(known)), len(known))


def warping_error(frame: Image, following: Image) -> float | None:
    """Compute the mean squared difference of a frame [H, W, 3] and the following one warped onto it.

    Values are 0..255. None is returned where every pixel is hidden.
    """
    from scipy.ndimage import map_coordinates

    if np.array_equal(frame, following):
        return 0.0
    first, second = (_reduced(image) for image in (frame, following))
    there, back = _flow(first, second), _flow(second, first)
    scale = len(frame) // SIDE
    visible = _visible(there, back).repeat(scale, axis=0).repeat(scale, axis=1)
    where = np.indices(frame.shape[:2]) + _enlarged(there, scale)
    channels = np.moveaxis(following.astype(np.float64), 2, 0)
    warped = np.stack([map_coordinates(channel, where, order=1, mode="nearest") for channel in channels])
    error = (warped - np.moveaxis(frame, 2, 0)) ** 2
    return float(error[:, visible].mean()) if visible.any() else None


def _reduced(frame: Image) -> Float:
    """Return luma [128, 128] less that of its surroundings, which shows motion but hardly changes of light."""
    from scipy.ndimage import gaussian_filter
    from skimage.color import rgb2gray
    from skimage.transform import downscale_local_mean

    scale = len(frame) // SIDE
    luma = np.asarray(downscale_local_mean(rgb2gray(frame), (scale, scale)), np.float32)
    return luma - gaussian_filter(luma, RADIUS)


def _flow(first: Float, second: Float) -> NDArray[np.float64]:
    """Estimate where each pixel of the first image [H, W] moves in the second: [2, H, W], rows and columns, px."""
    from skimage.registration import optical_flow_ilk

    return np.asarray(optical_flow_ilk(first, second, radius=RADIUS, num_warp=WARPS), np.float64)


def _visible(there: NDArray[np.float64], back: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whether pixels [H, W] of the first image are in the second too: flow forward and back returns to them."""
    from scipy.ndimage import map_coordinates

    goal = np.indices(there.shape[1:]) + there
    way_back = np.stack([map_coordinates(part, goal, order=1, mode="nearest") for part in back])
    missed = ((there + way_back) ** 2).sum(axis=0)
    moved = (there**2).sum(axis=0) + (way_back**2).sum(axis=0)
    edge = np.array(there.shape[1:])[:, None, None] - 1
    inside = ((goal >= 0) & (goal <= edge)).all(axis=0)
    return np.asarray(inside & (missed <= 0.01 * moved + 0.5))


def _enlarged(flow: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Return a flow [2, H, W] for images ``scale`` times as large, in their pixels."""
    from scipy.ndimage import zoom

    larger = [zoom(part, scale, order=1, mode="nearest", grid_mode=True) for part in flow]
    return np.asarray(scale * np.stack(larger))


METRICS = (
    Metric(
        "warping_error",
        "warping error",
        "mean squared difference (values 0..255; of 0..1 it is 1/65025 of it) of a frame and the following one warped "
        f"onto it, where nothing is hidden; mean over every {STEP}th pair of neighbouring frames",
        "Lai et al., Learning Blind Video Temporal Consistency, ECCV 2018; flow: iterative Lucas-Kanade, scikit-image",
        f"RGB 0..255 at 256²; flow of the measured video itself, estimated at {SIDE}²",
        "real",
        measure,
    ),
)
