"""Measure audio-driven videos of unseen subjects: `python benchmarks/talking.py CLIPS [--seconds 8] [--weights DIR]`.

CLIPS is a folder of videos. The first 3 s of each are the reference, and the audio that follows drives it. The video
made and the real one are tracked alike by the built-in tracker and compared by

- the correlation of the mouth's opening, at the best lag within two frames of usual footage's, whose mouths lead the
  audio by two; the same lag for all rows of a clip;
- LMD, the mean distance of the 20 mouth landmarks at that lag, centred on their mean, without the head pose, px at
  256²;
- the moments in which the lips meet (opening below 0.02 of the distance of the outer eye corners): the share of the
  real ones that are met within two frames, and of those made that are right within two frames;
- the ratio of the openings' standard deviations;
- the standard deviation of the head's rotation in degrees.

Beside them stand the figures for another clip's audio, for a held frame, and of the real video.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from thcli import GenerateOptions, generate
from thcli.clips.decode import read_clip
from thcli.data.audio_motion import correlation
from thcli.data.store import MOUTH_LEADS
from thcli.evaluation.curves import head_turn
from thcli.evaluation.metrics.closures import MEETING, near_others
from thcli.evaluation.metrics.lmd import from_front, mouth_distances
from thcli.face_model import mouth_opening
from thcli.faces.track import track_clip
from thcli.pipeline.models import load_models
from thcli.records import FPS, FaceTrack, Float

PAST = 3 * FPS
"""Frames of a clip that are its reference."""
LAGS = range(-MOUTH_LEADS - 2, 3)
"""Frames by which the real mouth may trail the one made; also of networks that learned the lead of usual footage."""


def main() -> None:
    """Measure the clips of a folder, each with the next one's audio beside its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--motion", default="audio")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    clips = sorted(arguments.clips.glob("*.mp4"))
    rows = []
    print("clip        corr  other's   LMD  other's  held    met  rightly  spread   rotation sd made (rx ry rz)   real")
    for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
        rows.append(measure(clip, other, arguments.seconds, arguments.motion, arguments.weights))
        show(clip.stem, rows[-1])
    show("mean", np.nanmean(rows, axis=0))


def show(name: str, row: Float) -> None:
    """Print the figures [14] of a clip."""
    first = "  ".join(f"{value:5.2f}" for value in row[:8])
    made, real = (" ".join(f"{value:5.2f}" for value in part) for part in (row[8:11], row[11:]))
    print(f"{name:10} {first}   {made}   {real}", flush=True)


def measure(clip: Path, other: Path, seconds: float, motion: str, weights: Path | None) -> Float:
    """Return the figures [14] of one clip, in the order of the heading."""
    real = track(clip, PAST / FPS, seconds)
    with tempfile.TemporaryDirectory() as scratch:
        made, wrong = (
            talk(clip, sound, min(seconds, len(real) / FPS), motion, weights, Path(scratch) / f"{i}.mp4")
            for i, sound in enumerate((clip, other))
        )
    held = real.select(np.zeros(len(real), np.intp))
    lag = best_lag(made, real)
    own, foreign = (opening_fit(one, real, lag) for one in (made, wrong))
    distances = [mouth_distance(one, real, lag) for one in (made, wrong, held)]
    lips = [*meetings(made, real, lag), spread(made, real)]
    return np.array([own, foreign, *distances, *lips, *rotation_spread(made), *rotation_spread(real)])


def talk(clip: Path, sound: Path, seconds: float, motion: str, weights: Path | None, output: Path) -> FaceTrack:
    """Generate a video from the first seconds of ``clip`` and a part of ``sound``, and return its track."""
    import soundfile

    from thcli.clips.audio import read_speech
    from thcli.records import SAMPLE_RATE

    reference, speech = output.with_suffix(".ref.mp4"), output.with_suffix(".wav")
    soundfile.write(speech, read_speech(sound, PAST / FPS, seconds).samples, SAMPLE_RATE)
    cut(clip, reference)
    generate(reference, speech, output, GenerateOptions(motion=motion, weights=weights))
    return track(output, 0.0, None)


def cut(clip: Path, target: Path) -> None:
    """Write the first 3 s of a clip with their own audio."""
    from thcli.clips.encode import VideoWriter

    frames = read_clip(clip, seconds=PAST / FPS).frames
    with VideoWriter(target, (frames.shape[2], frames.shape[1]), clip, len(frames)) as writer:
        for frame in frames:
            writer.write(frame)


def track(path: Path, start: float, seconds: float | None) -> FaceTrack:
    """Track the face in a part of a video with the built-in tracker."""
    models = load_models()
    return track_clip(read_clip(path, start, seconds), models.tracker, models.face_model)


def best_lag(made: FaceTrack, real: FaceTrack) -> int:
    """Return the lag at which the mouths' openings fit best."""
    return max(LAGS, key=lambda lag: opening_fit(made, real, lag))


def opening_fit(made: FaceTrack, real: FaceTrack, lag: int) -> float:
    """Return the correlation of the mouths' openings when the made video is moved by ``lag`` frames."""
    length = min(len(made), len(real))
    x, y = (mouth_opening(one.mesh)[:length] for one in (made, real))
    return correlation(*moved_by(x, y, lag))


def meetings(made: FaceTrack, real: FaceTrack, lag: int) -> tuple[float, ...]:
    """Return the share of the real moments in which the lips meet that are met, and of those made that are right."""
    x, y = (mouth_opening(one.mesh)[: min(len(made), len(real))] < MEETING for one in (made, real))
    return met_and_right(*moved_by(x, y, lag))


def moved_by(made: Float, real: Float, lag: int) -> tuple[Float, Float]:
    """Return the common parts of curves [T] when the first is moved by ``lag`` frames."""
    return made[max(0, -lag) : len(made) - max(0, lag)], real[max(0, lag) : len(real) - max(0, -lag)]


def met_and_right(made: np.ndarray, real: np.ndarray) -> tuple[float, ...]:
    """Return the share of the real closures [T] that are met, and of those made that are right; NaN for none."""
    both = near_others(real, made), near_others(made, real)
    return tuple(float(np.mean(near)) if near else np.nan for near in both)


def spread(made: FaceTrack, real: FaceTrack) -> float:
    """Return the standard deviation of the mouth's opening over that of the real one."""
    length = min(len(made), len(real))
    return float(np.divide(*(mouth_opening(one.mesh)[:length].std() for one in (made, real))))


def mouth_distance(made: FaceTrack, real: FaceTrack, lag: int) -> float:
    """Return the mean distance of the mouth landmarks when the made video is moved by ``lag`` frames, px at 256²."""
    length = min(len(made), len(real))
    x, y = (from_front(one)[:length] for one in (made, real))
    return float(mouth_distances(*moved_by(x, y, lag)).mean())


def rotation_spread(one: FaceTrack) -> Float:
    """Return the standard deviation [3] of the head's rotation, degrees."""
    return head_turn(one, smooth=0).std(axis=0)


if __name__ == "__main__":
    main()
