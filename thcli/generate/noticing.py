"""What a user should know of the inputs of a video that was made all the same."""

from __future__ import annotations

from pathlib import Path

from thcli.clips.audio import clipped_share
from thcli.evaluation.report.job import listen_to, look_at
from thcli.inspection.advice import on_reference, on_sound
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import Person, notes_on_size
from thcli.records import Speech

SPOILING = ("face_turned", "face_cut", "face_small", "eyes_closed", "no_speech", "clipped")
"""Of all advice on a reference and a sound, what makes the video itself bad; ``--report`` has the rest as well."""


def notes_on_inputs(person: Person, speech: Speech, sound: Path, options: GenerateOptions) -> tuple[str, ...]:
    """One line for each; where there is a report, its warnings say what is wrong with reference and sound."""
    notes = notes_on_size(person, options)
    if options.report is not None:
        return notes
    look = look_at(person.track, person.box, person.frame_size)
    found = [*on_reference(look), *on_sound(listen_to(speech, clipped_share(sound)))]
    return notes + tuple(advice.text for advice in found if advice.key in SPOILING)
