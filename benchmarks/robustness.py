"""Measure Ψ on spoilt recordings of unseen speakers: `python benchmarks/robustness.py STORE [--weights DIR]`.

Every recording of the split is changed in one way, and the mouth opening predicted from it is correlated with the
tracked one, with audio and mouth in step by the store's ``av_lag`` and by the fraction of a frame that fits the clean
recording best. A row is the mean over the speakers, the lowest, and how much of the mean is lost. Noise is white, the
voice of the split's last clip, or music, a progression of synthetic chords with a beat, at a ratio of effective values;
a telephone passes 300 to 3,400 Hz; the room has a decay of 0.5 s; MP3 has 24 kbit/s. Sung is the recording whose voice
the vocoder WORLD makes follow a melody of held notes with vibrato (`pip install pyworld 'setuptools<82'`): the words
keep their times, which singers would draw out, so that the true mouth stays known.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, fftconvolve, sosfiltfilt

from thcli.clips.audio import read_speech
from thcli.clips.features import STEPS_PER_FRAME
from thcli.clips.ffmpeg import executable
from thcli.data.audio_motion import AudioMotion, correlation, load_audio_motion, shifted
from thcli.data.store import Store
from thcli.motion.expression import predict
from thcli.pipeline.models import load_models
from thcli.records import SAMPLE_RATE, Float, Speech
from thcli.training.alignment import best_offset
from thcli.training.expression_clips import input_features

FRAMES, REFERENCE = 1500, 64
"""Most frames of a clip that are measured, and frames over which its reference expression is taken."""
Change = Callable[[Float], Float]


def main() -> None:
    """Measure every kind of recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models, store = load_models(given.weights, "cpu"), Store(given.store)
    network, encoder, gap = models.expression_learner, models.speech_encoders, models.face_model.lip_gap

    def load(change: Change) -> list[AudioMotion]:
        def features(path: Path) -> Float:
            speech = read_speech(path)
            return input_features(with_samples(speech, change(speech.samples)), network.dims.front_end, encoder)

        return load_audio_motion(store, given.split, models.face_model, features)

    def opening(clip: AudioMotion) -> Float:
        return predict(network, clip.features, np.median(clip.expression[:REFERENCE], axis=0))[:FRAMES] @ gap

    clean = load(lambda samples: samples)
    lags = [round(STEPS_PER_FRAME * best_offset(opening(clip), clip.opening[:FRAMES])) for clip in clean]
    usual = 0.0
    print("| recording | correlation | lowest | lost |\n|---|---:|---:|---:|")
    for name, change in changes(store, given.split).items():
        clips = [shifted(clip, lag) for clip, lag in zip(load(change), lags, strict=True)]
        fits = [correlation(opening(clip), clip.opening[:FRAMES]) for clip in clips]
        usual = usual or float(np.mean(fits))
        print(f"| {name} | {np.mean(fits):.3f} | {min(fits):.3f} | {usual - np.mean(fits):.3f} |", flush=True)


def with_samples(speech: Speech, samples: Float) -> Speech:
    """Return a recording with other samples."""
    return replace(speech, samples=samples.astype(np.float32))


def changes(store: Store, split: str) -> dict[str, Change]:
    """Return the changes of a recording by name; the first leaves it as it is."""
    voice = read_speech(store.speech(store.select(split)[-1].clip)).samples
    found: dict[str, Change] = {"clean": lambda samples: samples}
    for decibels in (30, 20, 12, 6):
        found[f"white noise, {decibels} dB"] = mixed(white, decibels)
    found["another's voice, 12 dB"] = mixed(lambda count: np.resize(voice, count), 12)
    found |= {f"music, {decibels} dB": mixed(music, decibels) for decibels in (12, 6, 0)}
    return found | {"telephone": telephone, "room": room, "MP3, 24 kbit/s": mp3, "sung": sung}


def mixed(noise: Callable[[int], Float], decibels: float) -> Change:
    """Return a change that mixes noise in, ``decibels`` below the recording."""

    def change(samples: Float) -> Float:
        other = noise(len(samples))
        return samples + other * (samples.std() / max(other.std(), 1e-9) * 10 ** (-decibels / 20))

    return change


def white(count: int) -> Float:
    """Return white noise."""
    return np.random.default_rng(0).normal(size=count)


def music(count: int) -> Float:
    """Return four chords in turn, each of three notes with overtones, with a beat twice a second."""
    time = np.arange(count) / SAMPLE_RATE
    chord = (time // 2).astype(int) % 4
    roots = np.array([220.0, 174.6, 261.6, 196.0])[chord]
    notes = sum(
        np.sin(2 * np.pi * np.cumsum(roots * ratio * k) / SAMPLE_RATE) / k
        for ratio in (1, 1.26, 1.5)
        for k in (1, 2, 3)
    )
    beat = white(count) * np.exp(-30 * (time % 0.5))
    return notes + 3 * beat


def telephone(samples: Float) -> Float:
    """Return what a telephone passes."""
    return sosfiltfilt(butter(4, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos"), samples)


def room(samples: Float) -> Float:
    """Return the recording in a room, as loud from its walls as from the mouth."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    echo = np.random.default_rng(1).normal(size=len(time)) * np.exp(-6.9 * time / 0.5)
    echo /= np.sqrt(np.square(echo).sum())
    return samples + fftconvolve(samples, echo)[: len(samples)]


def mp3(samples: Float) -> Float:
    """Return the recording after MP3 of 24 kbit/s, from a file, which says how long the encoder's delay is."""
    raw = ["-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
    with tempfile.TemporaryDirectory() as folder:
        coded = f"{folder}/a.mp3"
        run([*raw, "-i", "-", "-b:a", "24k", coded], samples.astype("<f4").tobytes())
        decoded = np.frombuffer(run(["-i", coded, *raw, "-"], b""), "<f4")
    return np.pad(decoded, (0, max(0, len(samples) - len(decoded))))[: len(samples)]


def sung(samples: Float) -> Float:
    """Return the recording with a melody in place of the voice's own pitch: half a second a note, around its median."""
    import pyworld

    samples = np.ascontiguousarray(samples, np.float64)
    pitch, time = pyworld.harvest(samples, SAMPLE_RATE)
    spectrum = pyworld.cheaptrick(samples, pitch, time, SAMPLE_RATE)
    breath = pyworld.d4c(samples, pitch, time, SAMPLE_RATE)
    notes = np.array([0, 4, 7, 5, 9, 7, 4, 2])[(time / 0.5).astype(int) % 8] + 0.4 * np.sin(2 * np.pi * 5.5 * time)
    melody = np.where(pitch > 0, np.median(pitch[pitch > 0]) * 2 ** (notes / 12), 0.0)
    return np.resize(pyworld.synthesize(melody, spectrum, breath, SAMPLE_RATE), len(samples))


def run(arguments: list[str], content: bytes) -> bytes:
    """Run ffmpeg on the content of its standard input and return its standard output."""
    command = [executable(), "-v", "error", *arguments]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout


if __name__ == "__main__":
    main()
