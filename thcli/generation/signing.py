"""Signing of finished videos with Content Credentials (``--sign``, ``--key``)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from thcli.clips.credentials import Story, read_credentials, sign_video
from thcli.clips.encode import MATROSKA, Finish
from thcli.clips.probe import MediaInfo
from thcli.errors import UsageError
from thcli.pipeline.options import DubOptions, GenerateOptions
from thcli.version import __version__


def check_signing(options: GenerateOptions | DubOptions, video: Path | None) -> None:
    """Raise UsageError or MediaError where the video cannot be signed with the certificate and key of the options.

    video: file of the video; None for standard output
    """
    if options.sign is None or options.key is None:
        return
    if video is None:
        raise UsageError(
            "--sign: a signature at the beginning covers the whole file, so -o - cannot have one; give a file"
        )
    if video.suffix.lower() in MATROSKA:
        raise UsageError(f"--sign: Matroska holds no C2PA manifest; give {video} a name that ends in .mp4")
    read_credentials(options.sign, options.key)


def signing(
    options: GenerateOptions | DubOptions, source_type: str, parent: tuple[MediaInfo, str] | None = None
) -> Finish | None:
    """Return the function that signs a written video; None where it stays unsigned.

    source_type, parent: as for ``Story``
    """
    if options.sign is None or options.key is None:
        return None
    story = Story("thgen", __version__, source_type, parent)
    return partial(sign_video, credentials=read_credentials(options.sign, options.key), story=story)
