"""Face tracks on disk, by what they were made from: a clip that was tracked once is not tracked again."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

from thcli import __version__
from thcli.checkpoints import find_weights, sha256, user_folder
from thcli.data.store import load_track, save_track
from thcli.errors import MediaError, WeightsError
from thcli.records import FaceTrack

SUFFIX = ".track.npz"
MAX_BYTES = 256 << 20
"""Of all tracks kept; a clip of four seconds takes half a megabyte."""
WEIGHTS = ("face_model.safetensors", "detection.onnx", "unprojection.onnx")
"""What a track depends on, beside the tracker's name and version."""


class TrackCache:
    """Tracks in ``folder``, by default ``~/.cache/thgen/tracks`` (or below ``XDG_CACHE_HOME``).

    Of more than ``most`` bytes, those not used for longest are deleted. The folder may be deleted at any time, and
    several processes may use it at once: files appear whole, and one that cannot be read or written is done without.
    """

    def __init__(self, folder: Path | None = None, most: int = MAX_BYTES) -> None:
        self.folder = user_folder().with_name("tracks") if folder is None else folder
        self.most = most

    def get(self, key: str, make: Callable[[], FaceTrack]) -> FaceTrack:
        """The track of ``key``, which names all that it depends on; made, and kept, where there is none."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            track = load_track(path)
            os.utime(path)
        except (MediaError, OSError, EOFError, BadZipFile, zlib.error):
            track = make()
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                save_track(path, track)
                self._make_room(path)
        return track

    def _make_room(self, newest: Path) -> None:
        """Delete the oldest until the rest fits; another process may do the same at this moment."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most or path == newest:
                break
            path.unlink(missing_ok=True)
            total -= size


def track_key(path: Path, tracker: str, weights: Path | None, *which: object) -> str:
    """Of the content of a clip, what of it is tracked (``which``), and by what."""
    digests = {}
    for name in WEIGHTS:
        with suppress(WeightsError):  # a tracker other than the built-in one needs no networks of ours
            digests[name] = sha256(find_weights(name, weights))
    parts = [__version__, sha256(path), tracker, digests, which]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
