"""``thgen generate``: one video, from its options to its files, made with ``thcli.pipeline``.

from pathlib import Path
from thcli import GenerateOptions, generate

generate(Path("clip.mp4"), Path("speech.wav"), Path("out.mp4"), GenerateOptions(seed=1))
"""

from __future__ import annotations

from pathlib import Path

from thcli.clips.audio import local_audio
from thcli.generation.checks import check_all
from thcli.generation.result import Result
from thcli.pipeline.options import GenerateOptions, Stream
from thcli.pipeline.progress import Progress, Quiet

__all__ = ["generate"]


def generate(
    reference: Path | str,
    audio: Path | str,
    output: Path | str,
    options: GenerateOptions | None = None,
    progress: Progress | None = None,
) -> Result:
    """Make a video of the person in ``reference``, a clip or a photo, speaking the words of ``audio``.

    audio: any audio or video file with speech, or ``-`` for standard input
    output: the MP4 to write, or ``-`` for standard output

    A sidecar ``OUT.mp4.json`` beside the output records how the video was made.

    Raises UsageError, MediaError, NoFaceError, WeightsError, DeviceError. An error leaves no files behind, except that
    an error of the report, which measures the finished video, leaves the video and its sidecar.
    """
    from thcli.generation.session import Session

    options, progress, session = options or GenerateOptions(), progress or Quiet(), Session()
    reference = Path(reference)
    source: Path | Stream = "-" if str(audio) == "-" else Path(audio)
    target: Path | Stream = "-" if str(output) == "-" else Path(output)
    check_all(reference, source, target, options)
    with local_audio(source) as file:
        return session.finish(session.prepare(reference, file, options, progress), target, progress)
