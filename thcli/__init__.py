"""thgen makes a talking-head video from a short clip of a person and any speech recording.

The command line is ``thgen``. From Python, ``generate`` makes one video with its files; four functions run the stages
one by one, and yield the frames:

    models = load_models(device="auto")
    person = read_person(models, "clip.mp4")
    curves = predict_curves(models, person, read_speech("speech.wav"))
    for frame in render_frames(models, person, curves): ...
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from thcli.threads import share_cores
from thcli.version import __version__

if TYPE_CHECKING:
    from thcli.clips.audio import read_speech
    from thcli.generation import generate
    from thcli.generation.dub import dub
    from thcli.pipeline.curves import predict_curves
    from thcli.pipeline.models import load_models
    from thcli.pipeline.options import DubOptions, GenerateOptions, MotionOptions, ReferenceOptions
    from thcli.pipeline.person import read_person
    from thcli.pipeline.video import render_frames

__all__ = [
    "DubOptions",
    "GenerateOptions",
    "MotionOptions",
    "ReferenceOptions",
    "__version__",
    "dub",
    "generate",
    "load_models",
    "predict_curves",
    "read_person",
    "read_speech",
    "render_frames",
]

_PLACES = {
    "DubOptions": "thcli.pipeline.options",
    "GenerateOptions": "thcli.pipeline.options",
    "MotionOptions": "thcli.pipeline.options",
    "ReferenceOptions": "thcli.pipeline.options",
    "dub": "thcli.generation.dub",
    "generate": "thcli.generation",
    "load_models": "thcli.pipeline.models",
    "predict_curves": "thcli.pipeline.curves",
    "read_person": "thcli.pipeline.person",
    "read_speech": "thcli.clips.audio",
    "render_frames": "thcli.pipeline.video",
}
"""Module of each public name, imported on first use, because ``thgen --help`` needs none of them."""

# From version 1.32 on, ONNX Runtime reports its use to its maker, and leaves a file in the folder for temporary files,
# unless this variable is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

share_cores()


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _PLACES:
        raise AttributeError(f"module 'thcli' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
