"""Speech with phones whose times are known, read out by festival and espeak-ng, for `benchmarks/languages.py`.

Festival's voices are people's, cut into diphones or modelled, and the program states where each phone ends; espeak-ng
makes its sound by rules, and its library reports every phone as it is made. So both times are exact. Recordings are
WAV files, each with a file of the same name and the ending `.pho`, as MBROLA reads it: a phone and its milliseconds a
line. Other recordings with such files may stand beside them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from thcli.records import Float

SENTENCES = Path(__file__).with_name("languages.txt")
FESTIVAL = {
    "English": ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"),
    "Italian": ("lp_diphone", "pc_diphone"),
    "Czech": ("czech_dita", "czech_machac", "czech_ph"),
    "Finnish": ("suo_fi_lj_diphone", "hy_fi_mv_diphone"),
    "Russian": ("msu_ru_nsh_clunits",),
    "Catalan": ("upc_ca_ona_hts",),
}
"""Voices of festival, by language."""
ENCODINGS = {"Italian": "latin-1", "Czech": "iso8859-2", "Finnish": "latin-1", "Catalan": "latin-1"}
"""Encodings of the text that festival's voices take, where it is not UTF-8."""
ESPEAK = {
    "English": "en-us",
    "Spanish": "es",
    "French": "fr",
    "German": "de",
    "Italian": "it",
    "Polish": "pl",
    "Mandarin": "cmn-latn-pinyin",
}
"""Voices of espeak-ng, by language."""
VARIANTS = ("", "+m3")
"""Variants of each of these voices, without echo, which would fill the closures."""
PACKAGES = (
    "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts festvox-italp16k festvox-itapc16k "
    "festvox-czech-dita festvox-czech-machac festvox-czech-ph festvox-suopuhe-lj festvox-suopuhe-mv festvox-ru "
    "festvox-ca-ona-hts espeak-ng libespeak-ng1"
)
"""Debian's packages that hold the programs and all of their voices."""
SCRIPT = """(define (say text name)
  (let ((utt (utt.synth (eval (list 'Utterance 'Text text)))))
    (utt.save.wave utt (string-append name ".wav") 'riff)
    (utt.save.segs utt (string-append name ".lab"))))
(voice_%s)
"""
"""Scheme that makes festival write a sentence and where its phones end, in seconds, with one of its voices."""

SILENT = 0.002
"""Largest sample of silence."""

Phones = tuple[tuple[str, float], ...]
"""Names of phones with their lengths in seconds, one after the other."""


@dataclass(frozen=True)
class Reading:
    """A recording at its own rate, with its phones."""

    samples: Float
    rate: int
    phones: Phones


def read_out(folder: Path) -> None:
    """Read the sentences out in all languages, into `FOLDER/PROGRAM/LANGUAGE/VOICE.wav` and `.pho`.

    Ends the program where festival or espeak-ng is missing.
    """
    library = ctypes.util.find_library("espeak-ng")
    if not shutil.which("festival") or not library:
        raise SystemExit(f"festival or libespeak-ng is missing: apt-get install {PACKAGES}")
    sentences = read_sentences(SENTENCES)
    for language, voices in FESTIVAL.items():
        for voice in voices:
            spoken = with_festival(voice, sentences[language], ENCODINGS.get(language, "utf-8"))
            write_reading(folder / "festival" / language / voice, spoken)
    espeak = Espeak(library)
    for language, voice in ESPEAK.items():
        for variant in VARIANTS:
            write_reading(
                folder / "espeak-ng" / language / (voice + variant), espeak.say(voice + variant, sentences[language])
            )


def read_sentences(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Read sentences by language: `[LANGUAGE]`, then a sentence a line."""
    found: dict[str, list[str]] = {}
    language = ""
    for line in filter(None, map(str.strip, path.read_text("utf-8").splitlines())):
        if line.startswith("["):
            language = line.strip("[]")
            found[language] = []
        else:
            found[language].append(line)
    return {name: tuple(lines) for name, lines in found.items()}


def write_reading(target: Path, reading: Reading) -> None:
    """Write a recording as `TARGET.wav` and its phones as `TARGET.pho`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    ends = np.round(1000 * np.cumsum([seconds for _, seconds in reading.phones]), 1)
    lengths = np.diff(ends, prepend=0)
    lines = [f"{name} {length:.1f}\n" for (name, _), length in zip(reading.phones, lengths, strict=True)]
    target.with_name(f"{target.name}.pho").write_text("".join(lines), "utf-8")
    soundfile.write(target.with_name(f"{target.name}.wav"), reading.samples, reading.rate)


def read_phones(path: Path) -> Phones:
    """Read the phones of a `.pho` file: name and milliseconds a line, then perhaps pitch, which is not read."""
    rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip() and not line.startswith(";")]
    return tuple((row[0], float(row[1]) / 1000) for row in rows)


def with_festival(voice: str, sentences: tuple[str, ...], encoding: str) -> Reading:
    """Read sentences out with a voice of festival."""
    with tempfile.TemporaryDirectory() as folder:
        calls = [f'(say "{text}" "{folder}/{number}")\n' for number, text in enumerate(sentences)]
        script = Path(folder) / "say.scm"
        script.write_text(SCRIPT % voice + "".join(calls), encoding)
        subprocess.run(["festival", "-b", str(script)], check=True, stdin=subprocess.DEVNULL, capture_output=True)
        parts = [festival_part(Path(folder) / str(number)) for number in range(len(sentences))]
    return joined(parts)


def festival_part(path: Path) -> Reading:
    """Return a sentence that festival wrote as `PATH.wav` and `PATH.lab`, whose rows are end, number and phone."""
    samples, rate = soundfile.read(path.with_suffix(".wav"), dtype="float32")
    rows = [line.split() for line in path.with_suffix(".lab").read_text("latin-1").splitlines()]
    ends = [(row[2], float(row[0])) for row in rows if len(row) == 3]
    starts = [0.0, *(end for _, end in ends)]
    return Reading(samples, rate, tuple((name, end - start) for (name, end), start in zip(ends, starts, strict=False)))


def joined(parts: list[Reading]) -> Reading:
    """Join recordings of the same rate; a pause fills what a recording has beyond its last phone.

    Phones that end after their recording, as the last pause of festival's voice for Russian does, end with it.
    """
    rate = parts[0].rate
    phones: list[tuple[str, float]] = []
    for part in parts:
        names, length = [*(name for name, _ in part.phones), "_"], len(part.samples) / rate
        ends = np.minimum(np.cumsum([seconds for _, seconds in part.phones]), length)
        phones += zip(names, np.diff(ends, prepend=0.0, append=length).tolist(), strict=True)
    return Reading(np.concatenate([part.samples for part in parts]), rate, tuple(phones))


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def silent_end(samples: Float) -> int:
    """Return how many samples at the end of a recording are silent."""
    (loud,) = np.nonzero(np.abs(samples) > SILENT)
    return len(samples) - (int(loud[-1]) + 1 if len(loud) else 0)


class Espeak:
    """The library of espeak-ng, which hands over sound and phones instead of playing them.

    It reports a voiceless stop (p, t, k) when the closure of 40 ms and more ends; this silence is taken from the phone
    before and given to the stop.
    """

    SYNCHRONOUS, PHONES_AS_IPA, UTF8 = 2, 1 | 2, 1
    END, PHONE = 0, 7
    """Kinds of events."""

    def __init__(self, library: str) -> None:
        self.library = ctypes.CDLL(library)
        self.rate = self.library.espeak_Initialize(self.SYNCHRONOUS, 0, None, self.PHONES_AS_IPA)
        self.samples: list[int] = []
        self.starts: list[tuple[str, int]] = []
        self.callback = _Callback(self._take)  # is kept, because the library holds no reference
        self.library.espeak_SetSynthCallback(self.callback)

    def say(self, voice: str, sentences: tuple[str, ...]) -> Reading:
        """Read sentences out with a voice."""
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise SystemExit(f"espeak-ng has no voice {voice}: apt-get install {PACKAGES}")
        return joined([self._sentence(text.encode()) for text in sentences])

    def _sentence(self, text: bytes) -> Reading:
        self.samples, self.starts = [], []
        self.library.espeak_Synth(text, len(text) + 1, 0, 1, 0, self.UTF8, None, None)
        self.library.espeak_Synchronize()
        samples = np.array(self.samples, np.float32) / 32768
        return Reading(samples, self.rate, tuple(self._phones(samples)))

    def _phones(self, samples: Float) -> Iterator[tuple[str, float]]:
        """Yield phones with their lengths; before the first one, and where espeak-ng names none, there is a pause."""
        starts = [("_", 0)]
        for name, start in self.starts:
            name = name if name and not name.startswith("(") else "_"
            if "_" not in (name, starts[-1][0]):
                start -= silent_end(samples[starts[-1][1] : start])
            starts.append((name, start))
        for (name, start), (_, end) in zip(starts, [*starts[1:], ("_", len(samples))], strict=True):
            yield name, (end - start) / self.rate

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count:
            self.samples += samples[:count]
        index = 0
        while events[index].type != self.END:
            if events[index].type == self.PHONE:
                self.starts.append((events[index].id.string.decode("utf-8", "ignore"), events[index].sample))
            index += 1
        return 0
