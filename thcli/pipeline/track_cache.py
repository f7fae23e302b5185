"""Cache of face tracks on disk, so that a clip that was tracked once is not tracked again."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

from thcli.checkpoints import DETECTION, FACE_MODEL, UNPROJECTION, digest_of, find_weights, sha256, user_folder
from thcli.data.store import load_track, save_track
from thcli.errors import MediaError, WeightsError
from thcli.records import FaceTrack
from thcli.version import __version__

SUFFIX = ".track.npz"
"""End of the name of a track's file."""
FOOTAGE = ".footage"
"""End of the name of a file with what is known of a whole video."""
MAX_BYTES = 256 << 20
"""Most bytes of all tracks kept, by default; the track of a clip of four seconds takes half a megabyte."""
WEIGHTS = (FACE_MODEL, DETECTION, UNPROJECTION)
"""Files of weights that a track depends on, besides the tracker's name and version."""
Content = TypeVar("Content")


class TrackCache:
    """Cache of face tracks in ``folder``, by default ``~/.cache/thgen/tracks`` (or below ``XDG_CACHE_HOME``).

    While the tracks take more than ``most`` bytes, those unused for longest are deleted. The folder may be deleted at
    any time, and several processes may use it at once: files appear whole, and a file that cannot be read or written
    does no harm.
    """

    def __init__(self, folder: Path | None = None, most: int = MAX_BYTES) -> None:
        self.folder = user_folder().with_name("tracks") if folder is None else folder
        self.most = most

    def get(self, key: str, make: Callable[[], FaceTrack]) -> FaceTrack:
        """Return the track of ``key``, which covers all that it depends on; ``make`` makes it where there is none."""
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

    @contextmanager
    def content(self, key: str, make: Callable[[Path], None], read: Callable[[Path], Content]) -> Iterator[Content]:
        """Yield what is read of the file of ``key``; ``make`` writes one to a path where none can be read.

        read: raises OSError, ValueError, KeyError or EOFError for a damaged file

        The file that was read is a copy, which stays while the block runs, whatever becomes of the cache meanwhile.
        """
        path = self.folder / f"{key}{FOOTAGE}"
        with tempfile.TemporaryDirectory(prefix="thgen-") as scratch:
            copy = Path(scratch) / path.name
            try:
                shutil.copyfile(path, copy)
                os.utime(path)
                content = read(copy)
            except (OSError, ValueError, KeyError, EOFError):
                make(copy)
                self._keep(copy, path)
                content = read(copy)
            yield content

    def _keep(self, made: Path, path: Path) -> None:
        """Copy a file into the cache, if it can be written."""
        part = path.with_name(f".{secrets.token_hex(6)}{FOOTAGE}")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(made, part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
            self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        """Delete the tracks unused for longest until the rest fit; other processes may do the same at this moment."""
        found = []
        for path in (*self.folder.glob(f"*{SUFFIX}"), *self.folder.glob(f"*{FOOTAGE}")):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path.stat().st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.most or path == newest:
                break
            path.unlink(missing_ok=True)
            total -= size


def track_key(path: Path, tracker: str, weights: Path | None, *which: object) -> str:
    """Return the key of a track: a hash of the clip's content, of what tracks it, and of ``which`` part is tracked."""
    digests = {}
    for name in WEIGHTS:
        with suppress(WeightsError):  # a tracker other than the built-in one needs none of these networks
            digests[name] = digest_of(find_weights(name, weights))
    parts = [__version__, sha256(path), tracker, digests, which]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
