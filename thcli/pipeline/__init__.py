"""The only place that joins the stages: ``generate`` makes a video, ``plan`` says what it would do.

from pathlib import Path
from thcli.pipeline import GenerateOptions, generate

generate(Path("clip.mp4"), Path("speech.wav"), Path("out.mp4"), GenerateOptions(seed=1))
"""

from __future__ import annotations

from pathlib import Path

from thcli.clips.audio import local_audio
from thcli.generate.checks import Plan, check_all, plan
from thcli.pipeline.options import GenerateOptions, Progress, Quiet, Result, Stream

__all__ = ["GenerateOptions", "Plan", "Progress", "Result", "generate", "plan"]


def generate(
    reference: Path,
    audio: Path | Stream,
    output: Path | Stream,
    options: GenerateOptions | None = None,
    progress: Progress | None = None,
) -> Result:
    """Make the person in ``reference`` (a clip or a photo) say what is said in ``audio``, and write an MP4.

    audio: any file with sound, or ``-`` for standard input; output: an MP4, or ``-`` for standard output
    Beside the output a sidecar ``OUT.mp4.json`` says how it was made. Nothing is left behind on any error:
    UsageError, MediaError, NoFaceError, WeightsError, DeviceError. An error of the report, which looks at the finished
    video, leaves that and its sidecar.
    """
    from thcli.generate.session import Studio

    options, progress, studio = options or GenerateOptions(), progress or Quiet(), Studio()
    check_all(reference, audio, output, options)
    studio.load(options)
    with local_audio(audio) as sound:
        return studio.finish(studio.prepare(reference, sound, options, progress), output, progress)
