"""Synchrony of a video by SyncNet (Chung and Zisserman, Out of time, ACCV workshops 2016).

The network is given as ONNX. Synchrony is computed as in the authors' ``syncnet_python``, from which the field's LSE-C
and LSE-D come. Each window of five frames is paired with 0.2 s of MFCC, one pair per frame. Euclidean distances between
every video window and the audio windows up to 15 frames before and after it are averaged over the video; beyond the
ends of the audio, zeros take the place of its embeddings.

    offset      frames by which the mouth trails the audio where the mean distance is least
    confidence  median over the offsets of the mean distance, less the least mean distance (LSE-C)
    distance    least mean distance (LSE-D)

Differences from ``syncnet_python``: the face is cut from the 256² head crop instead of the original frame, by the
tracker's box instead of S3FD's; beyond the crop its border is repeated instead of filled with grey; no frame is
compressed in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from thcli.cropping import crop_frame
from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.metric_models import Model
from thcli.evaluation.recording import Recording
from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME, CropBox, FaceTrack, Float, Image

MAX_OFFSET = 15
"""Largest offset between video and audio that is tried, frames to either side."""
WINDOW = 5
"""Frames of a video window, the network's input."""
SHORTEST = 2 * MAX_OFFSET + WINDOW
"""Least frames of a video; half of its windows are then compared with audio even at the largest offset."""
SIDE = 224
"""Side in px of the face crop that the network takes."""
MARGIN = 0.4
"""Margin of the crop left and right of the face's box, over half the box's side; twice that below, none above."""
STEADY = 13
"""Frames of the median filter that steadies the box."""
BATCH = 16
"""Windows in a batch of the network."""

WINDOW_SAMPLES, HOP, N_FFT = 400, 160, 512
"""Length of an MFCC window, step between windows, and length of the FFT; samples."""
FILTERS, CEPSTRA, LIFTER, PREEMPHASIS = 26, 13, 22, 0.97
"""Number of mel filters, number of coefficients, lifter's length, and factor of the preemphasis."""
STEPS_PER_FRAME = SAMPLES_PER_FRAME // HOP
"""MFCC windows per video frame."""
FULL_SCALE = 32768
"""Value of a full-scale 16 bit sample, as SyncNet takes them; the first coefficient, the energy, depends on it."""


@dataclass(frozen=True)
class Sync:
    """Synchrony of a video, as the module's docstring defines it.

    windows: number of windows that were judged
    """

    offset: int
    confidence: float
    distance: float
    windows: int


@lru_cache(maxsize=1)  # three metrics judge the same video one after the other
def judge(recording: Recording, model: Model) -> Sync | Figure:
    """Compute the synchrony of a recording, or a figure that says why there is none."""
    track, speech = recording.track, recording.speech
    if track is None:
        return not_computed(f"no face found in {recording.name}")
    if speech is None:
        return not_computed(f"{recording.name} has no sound")
    length = min(len(recording), len(speech.samples) // SAMPLES_PER_FRAME)
    if length < SHORTEST:
        return not_computed(f"{recording.name} has {length} frames with sound; SyncNet takes {SHORTEST}")
    faces = face_crops(recording.frames[:length], track)
    video, audio = _embed(model, faces, mfcc(speech.samples), length - WINDOW)
    distance = mean_distances(video, audio)
    best = int(distance.argmin())
    least = float(distance[best])
    return Sync(MAX_OFFSET - best, float(np.median(distance)) - least, least, len(video))


def mean_distances(video: Float, audio: Float) -> NDArray[np.float64]:
    """Compute the mean distance of embeddings [T, D] of video and audio at every offset: [31].

    Offsets go from ``MAX_OFFSET`` (the mouth trails) down to -``MAX_OFFSET``.
    """
    padded = np.pad(np.asarray(audio, np.float64), ((MAX_OFFSET, MAX_OFFSET), (0, 0)))
    shifts = range(2 * MAX_OFFSET + 1)
    return np.array([np.linalg.norm(video - padded[k : k + len(video)], axis=1).mean() for k in shifts])


def face_crops(frames: Image, track: FaceTrack) -> Image:
    """Cut out the face of every frame [T, H, W, 3] in the form that SyncNet takes: [T, 224, 224, 3] uint8, BGR."""
    from scipy.ndimage import median_filter

    low, high = track.box[: len(frames), :2], track.box[: len(frames), 2:]
    half = (high - low).max(axis=1, keepdims=True) / 2
    x, y, half = median_filter(np.hstack([(low + high) / 2, half]), size=(STEADY, 1), mode="nearest").T
    reach = half * (1 + MARGIN)
    corners = np.stack([x - reach, y - half, 2 * reach], axis=1).round().astype(int).tolist()
    crops = [crop_frame(frame, CropBox(*corner), SIDE) for frame, corner in zip(frames, corners, strict=True)]
    return np.stack(crops)[..., ::-1]


def mfcc(samples: Float) -> Float:
    """Compute MFCC [N, 13] float32, one every 10 ms, of samples [S] in -1..1 at 16 kHz.

    They equal those of ``python_speech_features.mfcc``: windows of 25 ms without taper over the 16 bit signal with
    preemphasis, 26 triangular filters with corners rounded down to bins, and 13 liftered coefficients of the
    orthonormal DCT, of which the first is replaced by the log of the window's energy.
    """
    from scipy.fft import dct

    signal = (np.asarray(samples, np.float64) * FULL_SCALE).round().clip(-FULL_SCALE, FULL_SCALE - 1)
    signal = np.append(signal[:1], signal[1:] - PREEMPHASIS * signal[:-1])
    steps = 1 + max(0, -(-(len(signal) - WINDOW_SAMPLES) // HOP))
    padded = np.pad(signal, (0, max(0, (steps - 1) * HOP + WINDOW_SAMPLES - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP][:steps]
    power = np.abs(np.fft.rfft(windows, N_FFT)) ** 2 / N_FFT
    energy, bands = power.sum(axis=1), power @ _filters().T
    tiny = np.finfo(np.float64).eps
    cepstra = dct(np.log(np.where(bands == 0, tiny, bands)), type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
    return cepstra.astype(np.float32)


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float64]:
    """Return triangular filters [26, 257] with peaks of 1, evenly spaced in mel from 0 to 8 kHz, corners on bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    corner = np.floor((N_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(N_FFT // 2 + 1)
    left, middle, right = (corner[i : i + FILTERS, None] for i in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.where(bins < middle, rising, falling).clip(min=0)


def _embed(model: Model, faces: Image, features: Float, count: int) -> tuple[Float, Float]:
    """Return embeddings [count, D] of video and of audio, of the windows that begin at each frame."""
    # Names of the inputs differ between exports.
    video_input, audio_input = (entry.name for entry in model.session.get_inputs())
    video, audio = [], []
    for first in range(0, count, BATCH):
        begins = range(first, min(first + BATCH, count))
        frames = np.stack([faces[begin : begin + WINDOW] for begin in begins]).transpose(0, 4, 1, 2, 3)
        steps = [features[STEPS_PER_FRAME * begin :][: STEPS_PER_FRAME * WINDOW].T[None] for begin in begins]
        feed = {video_input: frames.astype(np.float32), audio_input: np.stack(steps)}
        video_part, audio_part = model.session.run(None, feed)[:2]
        video.append(video_part)
        audio.append(audio_part)
    return np.concatenate(video), np.concatenate(audio)
