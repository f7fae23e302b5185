"""``thgen weights add``: copying of checked files into the user's folder.

A file is first loaded from a scratch folder by the very code that will use it; only then is it installed and listed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from thcli.checkpoints import (
    DETECTION,
    EXPRESSION,
    FACE_MODEL,
    HEAD_MOTION,
    MATTING,
    MOUTH_INTERIOR,
    SPEECH_ADAPTER,
    SPEECH_ENCODER,
    THETA,
    UNPROJECTION,
    find_weights,
    list_files,
    read_manifest,
    sha256,
    user_folder,
    verify,
)
from thcli.errors import MediaError, ThgenError, UsageError, WeightsError
from thcli.weights.catalogue import NAMES, entry_of


def add_files(files: Sequence[Path], expected: str | None = None, overwrite: bool = False) -> list[Path]:
    """Copy files into ``checkpoints.user_folder``, list their SHA-256 there, and return their new paths.

    expected: SHA-256 of the one file given; a ``SHA256SUMS`` beside a file is checked in any case
    overwrite: whether files of the same names are replaced

    Raises UsageError, MediaError, WeightsError, and leaves the folder unchanged.
    """
    _check(files, expected, overwrite)
    folder = user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder}: cannot be made ({error.strerror})"
        raise MediaError(f"{reason}; let XDG_CACHE_HOME name a folder that can be written to") from error
    with tempfile.TemporaryDirectory(dir=folder, prefix=".adding-") as name:
        scratch = Path(name)
        for file in files:
            shutil.copyfile(file, scratch / file.name)
        hashes = {file.name: sha256(scratch / file.name) for file in files}
        _check_hashes(files, hashes, expected)
        for file in files:
            _try(scratch, file)
        listed = read_manifest(folder)
        for copied in hashes:
            os.replace(scratch / copied, folder / copied)
        # The list is written last: after an interruption, an unlisted file is refused rather than a listed one missing.
        list_files(folder, {**listed, **hashes})
    return [folder / file.name for file in files]


def _check(files: Sequence[Path], expected: str | None, overwrite: bool) -> None:
    """Raise UsageError or WeightsError where the names of the files do not allow adding them."""
    if expected is not None and len(files) != 1:
        raise UsageError(f"--sha256: is that of one file, and {len(files)} are given")
    given = [file.name for file in files]
    for file in files:
        if not file.is_file():
            raise WeightsError(f"{file}: no such file")
        if file.name not in NAMES:
            raise UsageError(f"{file}: thgen uses no file of this name; rename it to one of {', '.join(NAMES)}")
        if given.count(file.name) > 1:
            raise UsageError(f"{file}: given twice; a folder holds one file of a name")
        if (user_folder() / file.name).exists() and not overwrite:
            raise UsageError(f"{user_folder() / file.name}: exists already; add --overwrite to replace it")


def _check_hashes(files: Sequence[Path], hashes: dict[str, str], expected: str | None) -> None:
    """Raise WeightsError where a file differs from the expected SHA-256 or from the SHA256SUMS beside it."""
    for file in files:
        if expected is not None and hashes[file.name] != expected.lower():
            raise WeightsError(f"{file}: SHA-256 is {hashes[file.name]}, expected {expected}; get the file again")
        if file.name in read_manifest(file.parent):
            verify(file)


def _try(scratch: Path, file: Path) -> None:
    """Load a file's copy in the scratch folder as it will be used; an error names the file, not its copy."""
    name = file.name
    loaders: dict[str, Callable[[], object]] = {
        DETECTION: lambda: _tracker(scratch),
        UNPROJECTION: lambda: _tracker(scratch),
        FACE_MODEL: lambda: _plain(scratch / name),
        MOUTH_INTERIOR: lambda: _plain(scratch / name),
        MATTING: lambda: _matting(scratch / name),
        EXPRESSION: lambda: _psi(scratch),
        SPEECH_ENCODER: lambda: _encoder(scratch),
        SPEECH_ADAPTER: lambda: _adapter(scratch),
        HEAD_MOTION: lambda: _phi(scratch),
        THETA: lambda: _theta(scratch),
    }
    try:
        if entry_of(name).metric:
            _metric(scratch / name)
        else:
            loaders[name]()
    except ThgenError as error:
        raise type(error)(str(error).replace(str(scratch / name), str(file))) from error


def _tracker(folder: Path) -> None:
    from thcli.faces.builtin import BuiltinTracker

    BuiltinTracker(find_weights(DETECTION, folder), find_weights(UNPROJECTION, folder), threads=1)


def _matting(path: Path) -> None:
    from thcli.render.matting import Matting

    Matting(path)


def _plain(path: Path) -> None:
    """Check the file of the face model or the mouth interior: its tensors must have the shapes of the shipped ones."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    from thcli.checkpoints import shipped_weights

    try:
        found, known = load_file(path), load_file(shipped_weights() / path.name)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not safetensors ({error}); get the file again") from error
    if {n: v.shape[1:] for n, v in found.items()} != {n: v.shape[1:] for n, v in known.items()}:
        raise WeightsError(f"{path}: holds {', '.join(sorted(found))}, not what thgen's own {path.name} holds")


def _psi(folder: Path) -> None:
    from thcli.pipeline.models import load_expression_learner

    load_expression_learner(folder / EXPRESSION)


def _encoder(folder: Path) -> None:
    from thcli.pipeline.models import load_encoder

    load_encoder(folder / SPEECH_ENCODER)


def _adapter(folder: Path) -> None:
    from thcli.pipeline.models import load_adapter

    load_adapter(folder / SPEECH_ADAPTER, find_weights(SPEECH_ENCODER, folder))


def _phi(folder: Path) -> None:
    from thcli.pipeline.models import load_head_motion_learner

    load_head_motion_learner(folder / HEAD_MOTION)


def _theta(folder: Path) -> None:
    from thcli.pipeline.models import load_generator

    load_generator(folder / THETA)


def _metric(path: Path) -> None:
    """Load a network of a metric, and check the shapes of its inputs and outputs."""
    from thcli.evaluation.metric_models import CONTRACTS, MetricModels

    for role in CONTRACTS:
        if role == path.stem:
            MetricModels(**{role: path}).find(role)
