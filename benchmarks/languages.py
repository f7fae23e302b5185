"""Measure Ψ in other languages than English: `python benchmarks/languages.py FOLDER [--weights DIR]`.

FOLDER holds recordings with phones whose times are known, `PROGRAM/LANGUAGE/VOICE.wav` and `.pho` (`read_out.py`
beside this file says how they look). Where FOLDER does not exist, festival and espeak-ng make it: the same sentences
in eleven languages, with several voices.

A neutral face, the mean face of the face model, speaks each recording. Ψ closes the lips somewhat before a p, b or m
is heard: the lead is the time by which phones have to be moved to where the probability of closed lips tells p, b and m
best from all others. All figures but the first AUC are for phones that are moved by English's lead in the same program,
so that languages are compared in step. A row is a language of a program, English first:

- lead in milliseconds, and the AUC without it, when phones are where they are heard;
- met: share of the p, b and m in which the lips meet (opening below 0.02 of the distance of the outer eye corners)
  within two frames, with the closures of ``close_lips`` and without; beside it that of the weakest voice, and by
  chance, with the face half a recording later;
- right: share of the closures made that are within two frames of a p, b or m, or of a pause of 0.2 s, and by chance;
- AUC, AP: area under the curve, and average precision, of the probability of closed lips in the frames of p, b and m
  among all frames of speech;
- opening in the middle of p, b, m, of f, v, of close vowels (i, u) and open ones (a), in hundredths of that distance;
- open, wide: by how many standard deviations the mouth is more open in a than in i and u, and wider in i and e than
  in u and o.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from read_out import Phones, read_out, read_phones
from scipy.stats import rankdata

from thcli.clips.audio import read_speech
from thcli.clips.features import audio_features
from thcli.evaluation.metrics.closures import MEETING, NEAR, near_others
from thcli.face_model import MOUTH_CORNERS, OUTER_EYE_CORNERS, mouth_opening
from thcli.motion.closure import close_lips
from thcli.motion.expression import predict_expression
from thcli.pipeline.models import Models, load_models
from thcli.records import FPS, Float

KINDS = {
    "lips": "p b m pp bb mm ph pf",
    "lip and teeth": "f v ff vv ʋ",
    "between": "β B",
    "spread": "i e ii ee iy ey ei eɪ",
    "round": "u o uu oo uw ow ou oʊ",
    "close": "i u ii uu iy uw",
    "open": "a aa æ ae ɑ ɐ A",
    "pause": "_ # ## pau sil ssil",
}
"""Phones by what the lips do, without marks of length, tone, stress and nasality, in the names of all voices.

A bilabial fricative (β) may close the lips, but need not.
"""
MARKS = str.maketrans("", "", "ːˑˈˌ:0123456789-~\N{COMBINING TILDE}")
"""Marks that are removed from the names of phones."""
Mask = NDArray[np.bool_]
PAUSE = 0.2
"""Least length of a pause in which closed lips are right, in seconds."""
LEADS = np.arange(-0.04, 0.161, 0.01)
"""Leads that are tried, in seconds."""
HEADING = """
| {program} | voices | seconds | lead | AUC, heard | met | weakest | by chance | right | by chance | met, bare \
| right, bare | AUC | AP | p, b, m | f, v | i, u | a | open | wide |
|---|{columns}"""


@dataclass(frozen=True)
class Spoken:
    """What the face does in the T frames of a recording, and what it should do.

    opening, bare: [T], opening of the mouth with and without the closures, distances of the outer eye corners
    width: [T], width of the mouth, in the same unit
    closure: [T], probability that the lips are closed
    kinds: [T] bool each, frames of which half or more belongs to phones of a kind
    moments: [T] bool each, frames that hold the middle of a phone of a kind, or for ``touched`` any part of a p, b or m
    phones: phones of the recording, as they are heard
    """

    opening: Float
    bare: Float
    width: Float
    closure: Float
    kinds: Mapping[str, Mask]
    moments: Mapping[str, Mask]
    phones: Phones = ()

    def moved(self, lead: float) -> Spoken:
        """Return the same with phones that are some seconds earlier."""
        kinds, moments = by_frame(self.phones, len(self.opening), lead)
        return replace(self, kinds=kinds, moments=moments)


def main() -> None:
    """Measure all languages of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.folder.is_dir():
        read_out(arguments.folder)
    models = load_models(arguments.weights, "cpu")
    for program in sorted(filter(Path.is_dir, arguments.folder.iterdir()), reverse=True):
        print(HEADING.format(program=program.name, columns="---:|" * 19))
        usual = 0.0
        for language in sorted(program.iterdir(), key=lambda path: (path.name != "English", path.name)):
            voices = [speak(models, path) for path in sorted(language.glob("*.wav"))]
            usual = lead(voices) if language.name == "English" else usual
            print(f"| {language.name} | {len(voices)} | {row(voices, usual)} |", flush=True)


def speak(models: Models, recording: Path) -> Spoken:
    """Let a neutral face speak a recording, whose phones stand beside it."""
    model = models.face_model
    features = audio_features(read_speech(recording))
    neutral, usual = model.canonical, np.zeros(len(model.basis), np.float32)
    said = predict_expression(models.expression_learner, features, usual, models.speech_encoders)
    closed = close_lips(said.expression, said.closure, neutral, usual, model)
    mesh, bare = (neutral + model.displacement(expression) for expression in (closed, said.expression))
    sizes = (np.linalg.norm(mesh[:, a] - mesh[:, b], axis=1) for a, b in (MOUTH_CORNERS, OUTER_EYE_CORNERS))
    phones = read_phones(recording.with_suffix(".pho"))
    kinds, moments = by_frame(phones, len(features), 0.0)
    return Spoken(mouth_opening(mesh), mouth_opening(bare), np.divide(*sizes), said.closure, kinds, moments, phones)


def by_frame(phones: Phones, frames: int, lead: float) -> tuple[dict[str, Mask], dict[str, Mask]]:
    """Return the fields ``kinds`` and ``moments`` of ``Spoken`` for phones that are ``lead`` seconds earlier."""
    share = {kind: np.zeros(frames) for kind in KINDS}
    moments = {kind: np.zeros(frames, bool) for kind in [*KINDS, "touched"]}
    end = -lead * FPS
    for name, seconds in phones:
        start, end = end, end + seconds * FPS
        middle = int((start + end) / 2)
        for kind in kinds_of(name, seconds):
            share[kind] += np.diff(np.clip(np.arange(frames + 1), start, end))
            if 0 <= middle < frames:
                moments[kind][middle] = True
    moments["touched"] = share["lips"] > 0.05
    return {kind: part >= 0.5 for kind, part in share.items()}, moments


def kinds_of(name: str, seconds: float) -> list[str]:
    """Return the kinds of a phone; a short pause is of none."""
    bare = unicodedata.normalize("NFD", name).translate(MARKS) or name
    kinds = [kind for kind, names in KINDS.items() if bare in names.split()]
    return [] if seconds <= 0 or (kinds == ["pause"] and seconds < PAUSE) else kinds


def lead(voices: list[Spoken]) -> float:
    """Return the lead at which the probability of closed lips tells p, b and m best from other phones, in seconds."""
    return float(max(LEADS, key=lambda seconds: detection(joined(voice.moved(seconds) for voice in voices))[0]))


def row(voices: list[Spoken], usual: float) -> str:
    """Return the figures of a language in the order of the heading, with phones ``usual`` seconds earlier."""
    own, as_heard = lead(voices), detection(joined(voices))[0]
    voices = [voice.moved(usual) for voice in voices]
    one = joined(voices)
    seconds = sum(len(voice.opening) for voice in voices) / FPS
    weakest = min(met(voice, voice.opening) for voice in voices)
    chance = [by_chance(voices, share) for share in (met, right)]
    shares = [met(one, one.opening), weakest, chance[0], right(one, one.opening), chance[1]]
    shares += [met(one, one.bare), right(one, one.bare)]
    openings = [100 * one.opening[one.moments[kind]].mean() for kind in ("lips", "lip and teeth", "close", "open")]
    contrasts = contrast(one.opening, one, "open", "close"), contrast(one.width, one, "spread", "round")
    parts = [f"{value:.2f}" for value in (as_heard, *shares, *detection(one))] + [
        f"{value:.1f}" for value in (*openings, *contrasts)
    ]
    return " | ".join([f"{seconds:.0f}", f"{1000 * own:.0f}", *parts])


def joined(voices: Iterable[Spoken]) -> Spoken:
    """Join what a face does in several recordings; between them lie frames of no kind with an open mouth."""

    def chain(parts: Iterable[NDArray[Any]], gap: float) -> NDArray[Any]:
        return np.concatenate([np.append(part, np.full(2 * NEAR + 1, gap, part.dtype)) for part in parts])

    voices = list(voices)
    return Spoken(
        chain((voice.opening for voice in voices), 1.0),
        chain((voice.bare for voice in voices), 1.0),
        chain((voice.width for voice in voices), 1.0),
        chain((voice.closure for voice in voices), 0.0),
        {kind: chain((voice.kinds[kind] for voice in voices), kind == "pause") for kind in voices[0].kinds},
        {kind: chain((voice.moments[kind] for voice in voices), False) for kind in voices[0].moments},
    )


def met(one: Spoken, opening: Float) -> float:
    """Return the share of the p, b and m near which the mouth is closed."""
    return float(np.mean(near_others(one.moments["touched"], opening < MEETING)))


def right(one: Spoken, opening: Float) -> float:
    """Return the share of the closures that are near a p, b or m, or a sound that may close the lips, or a pause."""
    return float(
        np.mean(near_others(opening < MEETING, one.moments["touched"] | one.kinds["between"] | one.kinds["pause"]))
    )


def by_chance(voices: list[Spoken], share: Callable[[Spoken, Float], float]) -> float:
    """Return the mean share over recordings whose face is half a recording late."""
    return float(np.mean([share(voice, np.roll(voice.opening, len(voice.opening) // 2)) for voice in voices]))


def detection(one: Spoken) -> tuple[float, float]:
    """Return the area under the curve and the average precision of the probability of closed lips in speech."""
    speech = ~one.kinds["pause"]
    probability, true = one.closure[speech], one.kinds["lips"][speech]
    positive = int(true.sum())
    ranks = rankdata(probability)
    area = (ranks[true].sum() - positive * (positive + 1) / 2) / (positive * (len(true) - positive))
    hits = true[np.argsort(-probability, kind="stable")]
    return float(area), float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def contrast(values: Float, one: Spoken, kind: str, other: str) -> float:
    """Return by how many standard deviations values are larger in phones of a kind than of another."""
    x, y = values[one.moments[kind]], values[one.moments[other]]
    return float((x.mean() - y.mean()) / np.sqrt((x.var() + y.var()) / 2))


if __name__ == "__main__":
    main()
