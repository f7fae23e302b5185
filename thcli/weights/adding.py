"""``thgen weights add``: files into the user's folder, once they have proved to be what they are taken for.

A file is loaded by the very code that will use it, from a scratch folder; only then it is copied and listed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from thcli.checkpoints import list_files, read_manifest, sha256, user_folder, verify
from thcli.errors import ThgenError, UsageError, WeightsError
from thcli.weights.catalogue import NAMES, entry_of

THETA, EXPORTS = "generator.safetensors", ("generator.onnx", "generator_embedding.onnx")


def add_files(files: Sequence[Path], expected: str | None = None, overwrite: bool = False) -> list[Path]:
    """Copy files into ``checkpoints.user_folder`` and list their SHA-256 there; returns where they are now.

    expected: SHA-256 of the one file given; a ``SHA256SUMS`` beside a file is heeded in any case
    A new checkpoint of Θ takes the place of an older one with its exports. Raises UsageError, WeightsError; then the
    folder is as it was.
    """
    _check(files, expected, overwrite)
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".adding-") as name:
        scratch = Path(name)
        for file in files:
            shutil.copyfile(file, scratch / file.name)
        hashes = {file.name: sha256(scratch / file.name) for file in files}
        _check_hashes(files, hashes, expected)
        for file in files:
            _try(scratch, file)
        listed = read_manifest(folder)
        if THETA in hashes:
            for stale in set(EXPORTS) - hashes.keys():
                listed.pop(stale, None)
                (folder / stale).unlink(missing_ok=True)
        for copied in hashes:
            os.replace(scratch / copied, folder / copied)
        # The list comes last: a file that is not listed yet is refused, one that is not there yet would be missed.
        list_files(folder, {**listed, **hashes})
    return [folder / file.name for file in files]


def _check(files: Sequence[Path], expected: str | None, overwrite: bool) -> None:
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
    for name in EXPORTS:
        if name in given and {THETA, *EXPORTS} - set(given):
            raise UsageError(f"{name}: is of use only with {THETA} and the other export; add all three at once")


def _check_hashes(files: Sequence[Path], hashes: dict[str, str], expected: str | None) -> None:
    for file in files:
        if expected is not None and hashes[file.name] != expected.lower():
            raise WeightsError(f"{file}: SHA-256 is {hashes[file.name]}, expected {expected}; get the file again")
        if file.name in read_manifest(file.parent):
            verify(file)


def _try(scratch: Path, file: Path) -> None:
    """Load a file of the scratch folder as it will be used; WeightsError, by its own name, where that fails."""
    name = file.name
    loaders: dict[str, Callable[[], object]] = {
        "detection.onnx": lambda: _tracker(scratch),
        "unprojection.onnx": lambda: _tracker(scratch),
        "face_model.safetensors": lambda: _plain(scratch / name),
        "mouth_interior.safetensors": lambda: _plain(scratch / name),
        "expression.safetensors": lambda: _psi(scratch),
        "head_motion.safetensors": lambda: _phi(scratch),
        THETA: lambda: _theta(scratch),
        **dict.fromkeys(EXPORTS, lambda: _exports(scratch)),
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

    BuiltinTracker(folder, threads=1)


def _plain(path: Path) -> None:
    """The face model or the mouth's inside: tensors without a header, of the shapes of those that ship."""
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
    from thcli.motion.expression import load_expression_learner

    load_expression_learner(folder)


def _phi(folder: Path) -> None:
    from thcli.motion.head import load_head_motion_learner

    load_head_motion_learner(folder)


def _theta(folder: Path) -> None:
    from thcli.render.generator import load_network

    load_network(folder / THETA)


def _exports(folder: Path) -> None:
    from thcli.export.check import check_theta

    check_theta(folder)


def _metric(path: Path) -> None:
    """A network that a metric asks for, in the shape that its role has."""
    from thcli.evaluation.metric_models import CONTRACTS, Models

    for role in CONTRACTS:
        if role == path.stem:
            Models(**{role: path}).find(role)
