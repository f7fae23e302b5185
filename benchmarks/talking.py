"""Audio-driven videos of unseen subjects: `python benchmarks/talking.py CLIPS [--seconds 8]`, CLIPS a folder of videos.

The first 3 s of every clip are the reference; the sound that follows drives it. The video made and the real one are
tracked alike by the built-in tracker and compared: correlation of the mouth's opening (at the best lag within two
frames, the same for all rows of a clip), LMD: mean distance of the 20 mouth landmarks, each centred on their mean,
de-posed, in pixels at 256² (mean per point), and the standard deviation of the head's rotation in degrees. Beside it
the same with another clip's sound, and the real video's own figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from thcli.clips.decode import read_clip
from thcli.data.audio_motion import correlation
from thcli.evaluation.curves import head_turn
from thcli.evaluation.metrics.lmd import from_front, mouth_distances
from thcli.face_model import mouth_opening
from thcli.faces.backends import load_face_model, load_tracker
from thcli.faces.track import track_clip
from thcli.pipeline import GenerateOptions, generate
from thcli.records import FPS, Clip, FaceTrack, Float

PAST = 3 * FPS
MAX_LAG = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--motion", default="audio")
    arguments = parser.parse_args()
    clips = sorted(arguments.clips.glob("*.mp4"))
    rows = []
    print("clip        corr  other's   LMD  other's  held   rotation sd made (rx ry rz)   real")
    for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
        rows.append(measure(clip, other, arguments.seconds, arguments.motion))
        show(clip.stem, rows[-1])
    show("mean", np.mean(rows, axis=0))


def show(name: str, row: Float) -> None:
    first = "  ".join(f"{value:5.2f}" for value in row[:5])
    print(f"{name:10} {first}   {' '.join(f'{v:5.2f}' for v in row[5:8])}   {' '.join(f'{v:5.2f}' for v in row[8:])}")


def measure(clip: Path, other: Path, seconds: float, motion: str) -> Float:
    """[11]: the figures of one clip, in the order of the heading."""
    real = track(clip, PAST / FPS, seconds)
    with tempfile.TemporaryDirectory() as scratch:
        made, wrong = (
            talk(clip, sound, min(seconds, len(real) / FPS), motion, Path(scratch) / f"{i}.mp4")
            for i, sound in enumerate((clip, other))
        )
    held = real.select(np.zeros(len(real), np.intp))
    lag = max(range(-MAX_LAG, MAX_LAG + 1), key=lambda step: opening_fit(made, real, step))
    own, foreign = (opening_fit(one, real, lag) for one in (made, wrong))
    distances = [mouth_distance(one, real) for one in (made, wrong, held)]
    return np.array([own, foreign, *distances, *rotation_spread(made), *rotation_spread(real)])


def talk(clip: Path, sound: Path, seconds: float, motion: str, output: Path) -> FaceTrack:
    """The video of ``clip``'s first seconds saying a part of ``sound``, tracked."""
    import soundfile

    from thcli.clips.audio import read_speech
    from thcli.records import SAMPLE_RATE

    reference, speech = output.with_suffix(".ref.mp4"), output.with_suffix(".wav")
    soundfile.write(speech, read_speech(sound, PAST / FPS, seconds).samples, SAMPLE_RATE)
    cut(clip, reference)
    generate(reference, speech, output, GenerateOptions(motion=motion))
    return track(output, 0.0, None)


def cut(clip: Path, target: Path) -> None:
    """The first 3 s with their own sound."""
    from thcli.clips.encode import VideoWriter

    frames = read_clip(clip, seconds=PAST / FPS).frames
    with VideoWriter(target, (frames.shape[2], frames.shape[1]), clip, len(frames)) as writer:
        for frame in frames:
            writer.write(frame)


def track(path: Path, start: float, seconds: float | None) -> FaceTrack:
    model = load_face_model(None)
    clip: Clip = read_clip(path, start, seconds)
    return track_clip(clip, load_tracker("builtin", model), model)


def opening_fit(made: FaceTrack, real: FaceTrack, lag: int) -> float:
    """Correlation of the openings when the made video is moved by ``lag`` frames."""
    length = min(len(made), len(real))
    x, y = (mouth_opening(one.mesh)[:length] for one in (made, real))
    return correlation(x[max(0, -lag) :], y[max(0, lag) :])


def mouth_distance(made: FaceTrack, real: FaceTrack) -> float:
    length = min(len(made), len(real))
    return float(mouth_distances(*(from_front(one)[:length] for one in (made, real))).mean())


def rotation_spread(one: FaceTrack) -> Float:
    return head_turn(one, smooth=0).std(axis=0)


if __name__ == "__main__":
    main()
