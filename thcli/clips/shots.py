"""Shots of a video: hard cuts, jump cuts with a zoom, and dissolves, found on luma reduced to a few thousand pixels.

A frame is compared with an earlier one block by block, with the light of both evened out. A block has changed where no
part of the earlier frame near it has its structure; so movement, fades and automatic exposure change few blocks, and a
caption changes few. In the middle of a dissolve each block is, moreover, the same mixture of the blocks before and
after; movement makes no such frames. On 172 clips of one shot each the figures of cuts and of movement lie far apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.opencv import cv2
from thcli.records import FPS, Float, Image
from thcli.runs import runs_of

SIDE = 80
"""Longer side of a reduced frame, px."""
BLOCK = 8
"""Side of a block, px of the reduced frame."""
STEP, WIDE_STEP = 3, 6
"""Largest movement in px that is searched for from one frame to the next, and over a longer time or in a zoom."""
CONTRAST, LEAST_CONTRAST = 40.0, 10.0
"""Standard deviation to which the luma of frames is brought, and the least that is, lest noise count as structure."""
BLANK = 4.0
"""Standard deviation of the luma of a whole frame below which it shows nothing."""
STRUCTURE = 5.0
"""Standard deviation of a block's luma, in a frame of full contrast, from which it shows something."""
SHOWING = 0.25
"""Least share of blocks that show something in frames that can be told apart; heads before a wall have 0.5."""
ALIKE = 0.7
"""Correlation from which two blocks show the same."""
CUT, ZOOMED, DISSOLVED = 0.45, 0.3, 0.3
"""Least shares of the blocks that change in a hard cut, that change place in a zoom, and that change in a dissolve."""
ZOOM = 0.035
"""Least change of scale in a cut; a head that comes nearer grows by less from one frame to the next."""
SAME_ZOOM, AGREE = 1.2, 0.15
"""Largest error, px, of a block's movement as that of a zoom; least share of the blocks that move as in one."""
SPANS = (2, 6, 12, 25, 50, 75)
"""Numbers of frames over which a dissolve is searched for."""
MIXED, EVEN = 0.1, 0.15
"""Largest share of the change that is no mixture of before and after; largest deviation of a block's mixture."""
KEPT = 0.8
"""Share of the squared slopes that the middle of a dissolve keeps at most: half, where the two shots are unlike. What
is blurred, and sways slowly, looks like a mixture, too, but keeps all of them."""
MOST_IN_A_ROW = 2
"""Most hard cuts on frames that follow each other."""
CHUNK = 256
"""Number of pairs of frames that are compared at a time."""
LONGEST_BLANK = FPS // 2
"""Most blank frames in the middle of a shot."""


@dataclass(frozen=True)
class Cut:
    """Change from one shot to the next; the frames in the middle, of which a hard cut has none, dissolve or are blank.

    first: number of the first frame that is no longer of the one shot
    end: number of the first frame of the next shot; in a hard cut the same as ``first``
    """

    first: int
    end: int

    @property
    def middle(self) -> float:
        """Time of its middle, frames."""
        return (self.first + self.end) / 2


def reduced_luma(frame: Image) -> Float:
    """Return the luma [h, w] float32 in 0..255 of a frame [H, W, 3], or of its luma [H, W], uint8.

    It is reduced to ``SIDE`` px.
    """
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(BLOCK, round(height * scale)), max(BLOCK, round(width * scale)))
    step = max(1, int(0.25 / scale))  # sixteen samples for each pixel are enough
    image = frame[::step, ::step].astype(np.float32)
    luma = image if image.ndim == 2 else image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.asarray(cv2.resize(luma, size[::-1], interpolation=cv2.INTER_AREA), np.float32)


def find_cuts(luma: Float) -> list[Cut]:
    """Return the cuts between frames of reduced luma [T, h, w] in order; the frames of two do not overlap."""
    if len(luma) < 2:
        return []
    contrast = luma.std(axis=(1, 2), keepdims=True)
    even = (luma - luma.mean(axis=(1, 2), keepdims=True)) * (CONTRAST / np.maximum(contrast, LEAST_CONTRAST))
    blank = contrast[:, 0, 0] < BLANK
    return _merged(_hard_cuts(even, blank) + _dissolves(luma, even, blank) + _through_blank(even, blank))


def shots(cuts: list[Cut], frames: int) -> list[tuple[int, int]]:
    """Return the first frame and the end of each shot of a part of a video that has ``frames`` frames."""
    firsts, ends = [0, *(cut.end for cut in cuts)], [*(cut.first for cut in cuts), frames]
    return [(first, end) for first, end in zip(firsts, ends, strict=True) if end > first]


def _hard_cuts(even: Float, blank: NDArray[np.bool_]) -> list[Cut]:
    """Find cuts between frames that show different shots, or one at two scales; several in a row are a whip pan."""
    moved = _changed(even, np.arange(len(even) - 1), 1, 0)
    near = np.zeros_like(moved)
    seen = np.flatnonzero(~(blank[:-1] | blank[1:]) & (moved >= ZOOMED))
    near[seen] = _changed(even, seen, 1, STEP)
    found: list[Cut] = []
    for first, last in runs_of(near >= CUT):
        frames = np.arange(first, last)
        # what moves fast moves before and after, too
        sudden = len(frames) <= MOST_IN_A_ROW and _around(moved, first, last) < moved[frames].min() / 2
        cut = frames if sudden else frames[_changed(even, frames, 1, WIDE_STEP) >= CUT]
        if len(cut) <= MOST_IN_A_ROW:
            found += [Cut(int(t) + 1, int(t) + 1) for t in cut]
        else:
            found.append(Cut(int(cut[0]) + 1, int(cut[-1]) + 1))
    for t in seen[near[seen] < CUT].tolist():
        if _around(moved, t, t + 1) < moved[t] / 2 and _zoom(even[t], even[t + 1]) >= ZOOM:
            found.append(Cut(t + 1, t + 1))
    return found


def _around(moved: Float, first: int, end: int) -> float:
    """Return the larger of the two changes next to ``moved[first:end]``."""
    return max(float(moved[first - 1]) if first else 0.0, float(moved[end]) if end < len(moved) else 0.0)


def _dissolves(frames: Float, even: Float, blank: NDArray[np.bool_]) -> list[Cut]:
    """Find dissolves; where several spans of frames show the same one, the shortest that shows all of it counts."""
    found = []
    for span in SPANS:
        pairs = np.arange(0, len(even) - span, max(1, span // 4))
        pairs = pairs[~(blank[pairs] | blank[pairs + span])]
        for reach in (0, WIDE_STEP):  # the quick test first
            pairs = pairs[_changed(even, pairs, span, reach) >= DISSOLVED]
            mixtures = [_mixture(frames, even, int(t), span, reach) for t in pairs]
            pairs = pairs[np.array([mixture is not None for mixture in mixtures], bool)]
        found += [mixture for mixture in mixtures if mixture is not None]
    cuts: list[Cut] = []
    while found:
        most = max(energy for energy, _ in found)
        _, best = min(((cut.end - cut.first, cut) for energy, cut in found if energy > 0.8 * most), key=lambda f: f[0])
        cuts.append(best)
        found = [(energy, cut) for energy, cut in found if cut.end < best.first or cut.first > best.end]
    return cuts


def _mixture(frames: Float, even: Float, t: int, span: int, reach: int) -> tuple[float, Cut] | None:
    """Return change and frames of the dissolve from frame t to t + span; None where no mixtures lie between."""
    changed = _blocks_changed(even[t : t + 1], even[t + span : t + span + 1], reach)[0][0]
    before, change = frames[t], frames[t + span] - frames[t]
    energy = _means(change**2)[changed]
    shares, rests, spreads = [], [], []
    for place in (0.25, 0.5, 0.75) if span > 2 else (0.5,):
        part = frames[t + round(place * span)] - before
        along = _means(change * part)[changed]
        share = (along / (energy + 1)).clip(0, 1)
        rest = _means(part**2)[changed] - 2 * share * along + share**2 * energy
        shares.append(float(np.median(share)))
        rests.append(float(np.median(rest / (energy + 1))))
        spreads.append(float(np.median(np.abs(share - np.median(share)))))
    if np.mean(rests) > MIXED or max(spreads) > EVEN or not 0.2 <= shares[len(shares) // 2] <= 0.8:
        return None
    first, middle, last = (float(_slopes(frames[t + i])[changed].sum()) for i in (0, span // 2, span))
    if middle > KEPT * (first + last) / 2:
        return None
    return float(energy.mean()), _extent(t, span, shares, len(frames))


def _slopes(frame: Float) -> Float:
    """Return the mean squared slope of each block [h, w] of a frame [H, W]."""
    down, across = frame[1:, :-1] - frame[:-1, :-1], frame[:-1, 1:] - frame[:-1, :-1]
    return _means(np.pad(down**2 + across**2, (0, 1)))


def _extent(t: int, span: int, shares: list[float], frames: int) -> Cut:
    """Return a dissolve with a frame on either side, given its share at a quarter and at three quarters of a span."""
    if span == 2:
        return Cut(t + 1, t + 2)
    growth = max((shares[-1] - shares[0]) / (0.5 * span), 1 / span)
    first, last = t + 0.25 * span - shares[0] / growth, t + 0.75 * span + (1 - shares[-1]) / growth
    return Cut(max(1, round(first) - 1), min(frames - 1, round(last) + 2))


def _through_blank(even: Float, blank: NDArray[np.bool_]) -> list[Cut]:
    """Find blank frames between two shots, or too many of them in one."""
    found = []
    for first, end in runs_of(blank):
        if first == 0 or end == len(even):
            continue
        before, after = even[first - 1 : first], even[end : end + 1]
        changed, seen = _blocks_changed(before, after, WIDE_STEP)
        if end - first > LONGEST_BLANK or changed.sum() / max(int(seen.sum()), 1) >= CUT:
            found.append(Cut(first, end))
    return found


def _merged(cuts: list[Cut]) -> list[Cut]:
    """Return cuts in order of time, those that overlap or meet as one; hard cuts on neighbouring frames stay two."""
    merged: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: (cut.first, cut.end)):
        last = merged[-1] if merged else None
        gradual = last is not None and (last.end > last.first or cut.end > cut.first)
        if last is not None and (cut == last or (gradual and cut.first <= last.end)):
            merged[-1] = Cut(last.first, max(last.end, cut.end))
        else:
            merged.append(cut)
    return merged


def _changed(even: Float, pairs: NDArray[np.intp], span: int, reach: int) -> Float:
    """Return the share [P] of blocks with structure that change from the frames ``pairs`` to those ``span`` later."""
    shares = [np.zeros(0, np.float32)]
    for first in range(0, len(pairs), CHUNK):
        some = pairs[first : first + CHUNK]
        changed, seen = _blocks_changed(even[some], even[some + span], reach)
        shares.append(changed.sum((1, 2)) / np.maximum(seen.sum((1, 2)), SHOWING * seen[0].size))
    return np.concatenate(shares)


def _blocks_changed(before: Float, after: Float, reach: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether each block [P, h, w] of frames [P, H, W] changed, and whether it shows anything in either."""
    alike, _, structure = _matched(before, after, reach)
    seen = structure > STRUCTURE
    return seen & (alike < ALIKE), seen


def _matched(before: Float, after: Float, reach: int) -> tuple[Float, Float, Float]:
    """Return the best correlation [P, h, w] of each block with the frame before, its place there, and its structure.

    Places [P, h, w, 2] are up to ``reach`` px away, (y, x) in px; where several are as good, the nearest counts.
    Structure [P, h, w] is the standard deviation of the luma, in whichever of the two frames has more.
    """
    height, width = after.shape[1:]
    mean = _means(after)
    variance = np.maximum(_means(after**2) - mean**2, 0)
    padded = np.pad(before, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    squared = padded**2
    best, place, earlier = np.full_like(mean, -2), np.zeros((*mean.shape, 2), np.float32), variance
    steps = range(-reach, reach + 1)
    for dy, dx in sorted(((y, x) for y in steps for x in steps), key=lambda step: step[0] ** 2 + step[1] ** 2):
        window = (..., slice(reach + dy, reach + dy + height), slice(reach + dx, reach + dx + width))
        other = _means(padded[window])
        spread = np.maximum(_means(squared[window]) - other**2, 0)
        if dy == dx == 0:
            earlier = spread
        alike = (_means(padded[window] * after) - other * mean) / np.sqrt((spread + 1) * (variance + 1))
        better = alike > best + 0.02
        best = np.where(better, alike, best)
        place[better] = dy, dx
    return best, place, np.sqrt(np.maximum(earlier, variance))


def _means(images: Float) -> Float:
    """Return the mean [..., h, w] of each block of images [..., H, W]."""
    *several, height, width = images.shape
    down, across = height // BLOCK, width // BLOCK
    whole = images[..., : down * BLOCK, : across * BLOCK].reshape(*several, down, BLOCK, across * BLOCK)
    return whole.sum(axis=-2).reshape(*several, down, across, BLOCK) @ np.full(BLOCK, BLOCK**-2, np.float32)


def _zoom(before: Float, after: Float) -> float:
    """Return the change of scale from one frame [H, W] to the next; 0 where blocks do not move as in a zoom."""
    alike, place, structure = (part[0] for part in _matched(before[None], after[None], WIDE_STEP))
    seen = structure > STRUCTURE
    same = seen & (alike >= ALIKE)
    used, scales = same, np.zeros(2)
    grid = np.mgrid[: seen.shape[0], : seen.shape[1]] * float(BLOCK)
    for _ in range(5):
        if used.sum() < BLOCK:
            return 0.0
        error = np.zeros(seen.shape)
        for axis in (0, 1):
            way = place[..., axis]
            at, moved = grid[axis] - grid[axis][used].mean(), way - way[used].mean()
            scales[axis] = (at * moved)[used].sum() / max((at**2)[used].sum(), 1e-6)
            error += (moved - scales[axis] * at) ** 2
        used = same & (error < SAME_ZOOM**2)
    agree = scales.prod() > 0 and used.sum() >= AGREE * seen.sum()
    return float(np.abs(scales).min()) if agree else 0.0
