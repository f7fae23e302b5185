"""SyncNet's judgement of a video (Chung and Zisserman, Out of time, ACCV workshops 2016), with a network given as ONNX.

As in the authors' ``syncnet_python``, whose figures LSE-C and LSE-D of the field are: windows of five frames against
0.2 s of MFCC, one pair a frame, Euclidean distances between every picture and the sounds up to 15 frames before and
after it (beyond the ends zeros stand for a sound, as there), averaged over the video.

    offset      frames by which the mouth trails the sound where the mean distance is least
    confidence  median over the offsets of the mean distance, less the least one (LSE-C)
    distance    the least one (LSE-D)

Departures: the face is cut out of the 256² head crop, not of the original frame, by the tracker's box instead of
S3FD's; what lies beyond the crop repeats its border instead of being grey; nothing is compressed in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.metric_models import Model
from thcli.evaluation.recording import Recording
from thcli.faces.crop import CropBox, crop_frame
from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME, FaceTrack, Float, Image

MAX_OFFSET = 15
"""Frames searched to either side."""
WINDOW = 5
"""Frames the network looks at."""
SHORTEST = 2 * MAX_OFFSET + WINDOW
"""Frames of which half are compared even at the largest offset."""
SIDE = 224
MARGIN = 0.4
"""Of the box's half side: what the crop adds left, right and, twice, below; its top is the box's."""
STEADY = 13
"""Frames over whose median the box is steadied."""
BATCH = 16

WINDOW_SAMPLES, HOP, N_FFT = 400, 160, 512
FILTERS, CEPSTRA, LIFTER, PREEMPHASIS = 26, 13, 22, 0.97
STEPS_PER_FRAME = SAMPLES_PER_FRAME // HOP
FULL_SCALE = 32768
"""SyncNet hears 16 bit samples; its first coefficient, the energy, depends on it."""


@dataclass(frozen=True)
class Sync:
    """What SyncNet says: see the module; windows: how many frames were judged."""

    offset: int
    confidence: float
    distance: float
    windows: int


@lru_cache(maxsize=1)  # several metrics ask about the same video in turn
def judge(recording: Recording, model: Model) -> Sync | Figure:
    """SyncNet's judgement of a recording, or why there is none."""
    track, speech = recording.track, recording.speech
    if track is None:
        return not_computed(f"no face found in {recording.name}")
    if speech is None:
        return not_computed(f"{recording.name} has no sound")
    length = min(len(recording), len(speech.samples) // SAMPLES_PER_FRAME)
    if length < SHORTEST:
        return not_computed(f"{recording.name} has {length} frames with sound; SyncNet takes {SHORTEST}")
    faces = face_crops(recording.frames[:length], track)
    pictures, sounds = _embed(model, faces, mfcc(speech.samples), length - WINDOW)
    distance = mean_distances(pictures, sounds)
    best = int(distance.argmin())
    least = float(distance[best])
    return Sync(MAX_OFFSET - best, float(np.median(distance)) - least, least, len(pictures))


def mean_distances(pictures: Float, sounds: Float) -> NDArray[np.float64]:
    """Mean distance of embeddings [T, D] at offsets from MAX_OFFSET (the mouth trails) down to -MAX_OFFSET: [31]."""
    padded = np.pad(np.asarray(sounds, np.float64), ((MAX_OFFSET, MAX_OFFSET), (0, 0)))
    shifts = range(2 * MAX_OFFSET + 1)
    return np.array([np.linalg.norm(pictures - padded[k : k + len(pictures)], axis=1).mean() for k in shifts])


def face_crops(frames: Image, track: FaceTrack) -> Image:
    """The face of every frame [T, H, W, 3] as SyncNet wants it: [T, 224, 224, 3] uint8, BGR."""
    from scipy.ndimage import median_filter

    low, high = track.box[: len(frames), :2], track.box[: len(frames), 2:]
    half = (high - low).max(axis=1, keepdims=True) / 2
    x, y, half = median_filter(np.hstack([(low + high) / 2, half]), size=(STEADY, 1), mode="nearest").T
    reach = half * (1 + MARGIN)
    corners = np.stack([x - reach, y - half, 2 * reach], axis=1).round().astype(int).tolist()
    crops = [crop_frame(frame, CropBox(*corner), SIDE) for frame, corner in zip(frames, corners, strict=True)]
    return np.stack(crops)[..., ::-1]


def mfcc(samples: Float) -> Float:
    """MFCC [S, 13] float32 every 10 ms of samples in -1..1 at 16 kHz, as ``python_speech_features.mfcc`` gives them.

    Windows of 25 ms without taper, of the 16 bit signal with preemphasis; 26 triangles on bins rounded down, 13
    coefficients of the orthonormal DCT, liftered; the first one replaced by the log of the window's energy.
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
    """Triangles [26, 257] that peak at 1, evenly spaced in mel from 0 to 8 kHz, their corners on whole bins."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    corner = np.floor((N_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(N_FFT // 2 + 1)
    left, middle, right = (corner[i : i + FILTERS, None] for i in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.where(bins < middle, rising, falling).clip(min=0)


def _embed(model: Model, faces: Image, sound: Float, count: int) -> tuple[Float, Float]:
    """Embeddings [count, D] of the windows that begin at each frame, of picture and of sound."""
    video, audio = (entry.name for entry in model.session.get_inputs())  # exports call them what they like
    pictures, sounds = [], []
    for first in range(0, count, BATCH):
        begins = range(first, min(first + BATCH, count))
        frames = np.stack([faces[begin : begin + WINDOW] for begin in begins]).transpose(0, 4, 1, 2, 3)
        steps = [sound[STEPS_PER_FRAME * begin :][: STEPS_PER_FRAME * WINDOW].T[None] for begin in begins]
        feed = {video: frames.astype(np.float32), audio: np.stack(steps)}
        picture, heard = model.session.run(None, feed)[:2]
        pictures.append(picture)
        sounds.append(heard)
    return np.concatenate(pictures), np.concatenate(sounds)
