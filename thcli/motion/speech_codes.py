"""Codes of speech by the pretrained encoder that Ψ listens with, for recordings of any length.

The encoder was trained on windows of 30 s, and what it says of a moment depends on where in the window the moment
stands. So windows of ten seconds follow each other at a quarter of their length, and a code is the mean of what the
four windows around it say, weighted by a Hann window: every moment is heard at all places, windows join without seams,
and a recording may be cut anywhere. Where the CPU multiplies bfloat16 itself, codes are computed in it: half the time,
and codes that differ by a hundredth, a twentieth of what the place in the window makes of them. Noisy recordings are
encoded with the encoder's adapter (``SpeechEncoders``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from thcli.device import has_fast_bfloat16
from thcli.mel_scale import columns, mel_corners, mel_triangles
from thcli.motion.raw_sound import speech_level
from thcli.records import FPS, SAMPLE_RATE, Float
from thgen_models.speech_adapter import SpeechAdapter
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

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


NOISY_DB = 22.0
"""Range of the loudness of a recording's bands, dB, below which it counts as noisy.

Of ten-second pieces of clips as found one in a hundred is below it; the median is 26. White noise 20 dB below the voice
leaves 15 to 21, at 6 dB 11 to 13. On held-out training subjects the adapter helps spoilt speech up to 28 dB, too, but
there most recordings are clean, of which it says a hundredth less.
"""
SAMPLED = 6000
"""Log-mel steps, spread evenly over a recording, that are enough to tell this range."""


@dataclass(frozen=True)
class SpeechEncoders:
    """The encoder for two kinds of recordings.

    quiet: the encoder as it was trained
    adapter: its adapter, with which it hears through noise, but says a little less of clean speech
    """

    quiet: SpeechEncoder
    adapter: SpeechAdapter

    @cached_property
    def noisy(self) -> SpeechEncoder:
        """The encoder with its adapter."""
        adapted = copy.deepcopy(self.quiet)
        self.adapter.merge_into(adapted)
        return adapted

    @property
    def dims(self) -> SpeechEncoderDims:
        """Sizes of both."""
        return self.quiet.dims

    def fitting(self, steps: Float) -> SpeechEncoder:
        """Return the one for a recording of log-mel steps [S, bands]."""
        return self.noisy if loudness_range(steps) < NOISY_DB else self.quiet


Encoder = SpeechEncoder | SpeechEncoders
"""One encoder for all recordings, or one for each kind."""
_WEIGHT = torch.hann_window(WINDOW)[:, None] + 1e-4
"""Weight of a window's codes by their place."""


def code_reader(encoder: Encoder, samples: Float, offset: int = 0) -> Callable[[int, int], Float]:
    """Return a function that encodes frames first..last - 1 of a recording: codes [N, 2, width] float32.

    The codes of a frame do not depend on the part that is asked for.

    samples: [T, 640] at 16 kHz
    offset: codes by which the first window begins later, 0 to ``STRIDE`` - 1; training draws it, so that Ψ learns to
        hear speech at any place of the windows
    """
    if not len(samples):
        return lambda first, last: np.zeros((last - first, CODES_PER_FRAME, encoder.dims.width), np.float32)
    heard = encoder_steps(samples, encoder.dims.mels)
    chosen = encoder.fitting(heard) if isinstance(encoder, SpeechEncoders) else encoder
    steps = torch.from_numpy(heard)
    silence = float(steps.min())
    origin = offset - WINDOW

    def read(first: int, last: int) -> Float:
        begin, end = CODES_PER_FRAME * first, CODES_PER_FRAME * last
        windows = range((begin - origin) // STRIDE - WINDOW // STRIDE + 1, (end - 1 - origin) // STRIDE + 1)
        codes, total = torch.zeros(end - begin, encoder.dims.width), torch.zeros(end - begin, 1)
        for index in _batches(windows):
            starts = [origin + STRIDE * i for i in index]
            for start, said in zip(starts, _encode(chosen, steps, starts, silence), strict=True):
                low, high = max(start, begin), min(start + WINDOW, end)
                weight = _WEIGHT[low - start : high - start]
                codes[low - begin : high - begin] += said[low - start : high - start] * weight
                total[low - begin : high - begin] += weight
        return np.asarray((codes / total).numpy().reshape(last - first, CODES_PER_FRAME, -1), np.float32)

    return read


def encode_speech(encoder: Encoder, samples: Float, offset: int = 0) -> Float:
    """Encode a whole recording [T, 640] as ``code_reader`` does: codes [T, 2, width] float32."""
    return code_reader(encoder, samples, offset)(0, len(samples))


def encoder_steps(samples: Float, bands: int = 80) -> Float:
    """Return a recording [T, 640] as the encoder takes it: log-mel steps [4 T, bands], with speech of one level."""
    return whisper_mel(samples.ravel() * np.float32(LEVEL / speech_level(samples)), bands)


def loudness_range(steps: Float) -> float:
    """Return the range between soft and loud of log-mel steps [S, bands] as the encoder takes them, dB.

    It is the mean over the bands of the range from the 10th to the 90th percentile. Noise, which fills the pauses of a
    voice in all bands, makes it small.
    """
    some = steps[:: max(1, len(steps) // SAMPLED)]
    low, high = np.percentile(some, (10, 90), axis=0)
    return float(4 * 10 * (high - low).mean())


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
    windows = torch.stack(
        [cut_steps(steps, STEPS_PER_CODE * start, STEPS_PER_CODE * WINDOW, silence) for start in starts]
    )
    device = next(encoder.parameters()).device
    with torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and has_fast_bfloat16()):
        return encoder(windows.to(device)).float().cpu()


def cut_steps(steps: Tensor, first: int, count: int, silence: float) -> Tensor:
    """Return ``count`` log-mel steps [count, bands] from step ``first`` on; beyond the recording there is silence."""
    window = torch.full((count, steps.shape[1]), silence)
    there = steps[max(first, 0) : max(first + count, 0)]
    window[max(-first, 0) :][: len(there)] = there
    return window


@lru_cache(maxsize=1)
def _mel_bank(bands: int) -> Float:
    """Return the triangular filters of Whisper, [N_FFT / 2 + 1, bands] float32, each of area 1."""
    corners = mel_corners(bands, 0.0, SAMPLE_RATE / 2)
    return columns(mel_triangles(corners, N_FFT) * (2 / (corners[2:] - corners[:-2]))[:, None])
