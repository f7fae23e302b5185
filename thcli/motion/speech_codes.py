"""Codes of speech by the pretrained encoder that Ψ listens with, for recordings of any length.

The encoder was trained on windows of 30 s, and what it says of a moment depends on where in the window the moment
stands. So windows of ten seconds follow each other at a quarter of their length, and a code is the mean of what the
four windows around it say, weighted by a Hann window: every moment is heard at all places, windows join without seams,
and a recording may be cut anywhere. Where the CPU multiplies bfloat16 itself, codes are computed in it: half the time,
and codes that differ by a hundredth, a twentieth of what the place in the window makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from thcli.device import has_fast_bfloat16
from thcli.mel_scale import columns, mel_corners, mel_triangles
from thcli.motion.raw_sound import speech_level
from thcli.records import FPS, SAMPLE_RATE, Float
from thgen_models.speech_encoder import SpeechEncoder

CODES_PER_FRAME = 2
"""Codes of 20 ms per video frame."""
STEPS_PER_CODE = 2
"""Log-mel steps of 10 ms per code."""
WINDOW, STRIDE = 500, 125
"""Codes of a window, and from one window to the next: 10 s and 2.5 s."""
N_FFT = 400
"""Samples of the Fourier transform and of its Hann window: 25 ms."""
HOP = SAMPLE_RATE // FPS // CODES_PER_FRAME // STEPS_PER_CODE
"""Samples from one log-mel step to the next: 10 ms."""
LEVEL = 0.1
"""Root mean square of speech to which recordings are brought."""
QUIETEST = 1e-10
"""Least power of which a logarithm is taken."""
RANGE = 8.0
"""Range of log-mel values below the largest one, powers of ten, as Whisper takes them."""
PART = 3000
"""Log-mel steps whose spectrum is computed at a time."""
BATCH = 4
"""Windows that are encoded at a time."""


_WEIGHT = torch.hann_window(WINDOW)[:, None] + 1e-4
"""Weight of a window's codes by their place."""


def code_reader(encoder: SpeechEncoder, samples: Float, offset: int = 0) -> Callable[[int, int], Float]:
    """Return a function that encodes frames first..last - 1 of a recording: codes [N, 2, width] float32.

    The codes of a frame do not depend on the part that is asked for.

    samples: [T, 640] at 16 kHz
    offset: codes by which the first window begins later, 0 to ``STRIDE`` - 1; training draws it, so that Ψ learns to
        hear speech at any place of the windows
    """
    if not len(samples):
        return lambda first, last: np.zeros((last - first, CODES_PER_FRAME, encoder.dims.width), np.float32)
    gain = np.float32(LEVEL / speech_level(samples))
    steps = torch.from_numpy(whisper_mel(samples.ravel() * gain, encoder.dims.mels))
    silence = float(steps.min())
    origin = offset - WINDOW

    def read(first: int, last: int) -> Float:
        begin, end = CODES_PER_FRAME * first, CODES_PER_FRAME * last
        windows = range((begin - origin) // STRIDE - WINDOW // STRIDE + 1, (end - 1 - origin) // STRIDE + 1)
        codes, total = torch.zeros(end - begin, encoder.dims.width), torch.zeros(end - begin, 1)
        for index in _batches(windows):
            starts = [origin + STRIDE * i for i in index]
            for start, said in zip(starts, _encode(encoder, steps, starts, silence), strict=True):
                low, high = max(start, begin), min(start + WINDOW, end)
                weight = _WEIGHT[low - start : high - start]
                codes[low - begin : high - begin] += said[low - start : high - start] * weight
                total[low - begin : high - begin] += weight
        return np.asarray((codes / total).numpy().reshape(last - first, CODES_PER_FRAME, -1), np.float32)

    return read


def encode_speech(encoder: SpeechEncoder, samples: Float, offset: int = 0) -> Float:
    """Encode a whole recording [T, 640] as ``code_reader`` does: codes [T, 2, width] float32."""
    return code_reader(encoder, samples, offset)(0, len(samples))


def whisper_mel(samples: Float, bands: int = 80) -> Float:
    """Compute log-mel steps [S, bands] float32 as Whisper's training did, one for each 10 ms of samples [160 S]."""
    bank, window = _mel_bank(bands), np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    count = len(samples) // HOP
    padded = np.pad(samples, N_FFT // 2, mode="reflect" if len(samples) > N_FFT // 2 else "constant")
    steps = np.empty((count, bank.shape[1]), np.float32)
    for first in range(0, count, PART):
        last = min(first + PART, count)
        piece = padded[first * HOP : (last - 1) * HOP + N_FFT]
        frames = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]
        spectrum = np.fft.rfft(frames * window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        steps[first:last] = np.log10(np.maximum(power @ bank, QUIETEST))
    return np.asarray((np.maximum(steps, steps.max() - RANGE) + 4) / 4, np.float32)


def _batches(windows: range) -> Iterator[range]:
    for begin in range(0, len(windows), BATCH):
        yield windows[begin : begin + BATCH]


@torch.inference_mode()
def _encode(encoder: SpeechEncoder, steps: Tensor, starts: Sequence[int], silence: float) -> Tensor:
    """Encode the windows that begin at some codes: [B, ``WINDOW``, width]; beyond the recording there is silence."""
    length = STEPS_PER_CODE * WINDOW
    windows = torch.full((len(starts), length, encoder.dims.mels), silence)
    for window, start in zip(windows, starts, strict=True):
        begin = STEPS_PER_CODE * start
        there = steps[max(begin, 0) : max(begin + length, 0)]
        window[max(-begin, 0) :][: len(there)] = there
    device = next(encoder.parameters()).device
    with torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and has_fast_bfloat16()):
        return encoder(windows.to(device)).float().cpu()


@lru_cache(maxsize=1)
def _mel_bank(bands: int) -> Float:
    """Return the triangular filters of Whisper, [N_FFT / 2 + 1, bands] float32, each of area 1."""
    corners = mel_corners(bands, 0.0, SAMPLE_RATE / 2)
    return columns(mel_triangles(corners, N_FFT) * (2 / (corners[2:] - corners[:-2]))[:, None])
