"""Tracking of videos of any length: frames are taken one at a time, and none is kept."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

from thcli.clips.decode import stream_frames
from thcli.clips.probe import MediaInfo, media_info
from thcli.errors import MediaError, NoFaceError
from thcli.faces.crop import head_crop
from thcli.faces.track import track_frames, track_in_crop
from thcli.pipeline.models import Models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import sides
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.records import CROP_SIZE, CropBox, FaceTrack, Person
from thcli.threads import one_thread

SAME_SHAPE = 0.01
"""Largest relative difference of two heights at which frames of one width have the same shape."""


@one_thread()
def track_video(
    models: Models,
    source: Path | str | MediaInfo,
    start: float = 0.0,
    seconds: float | None = None,
    longest: int | None = None,
) -> FaceTrack:
    """Track the largest face of a part of a video, or of a photo, in px of its frames as ``stream_frames`` yields them.

    start, seconds, longest: as for ``stream_frames``

    Raises MediaError, NoFaceError.
    """
    info = media_info(source)
    with closing(stream_frames(info, start, seconds, longest)) as frames:
        return track_frames(frames, models.tracker, models.face_model, info.path, start=start)


def track_driver(
    models: Models,
    source: Path | str | MediaInfo,
    seconds: float,
    tracks: TrackCache | None = None,
    framed_as: Person | None = None,
) -> FaceTrack:
    """Track the largest face of a driving video, in px of its crop, to its end or for ``seconds``.

    tracks: cache in which the track may be found, and in which it is kept
    framed_as: person in whose crop the face is tracked, instead of a crop of its own

    Raises MediaError, also where the frames do not have the shape of the person's, and NoFaceError.
    """
    info = media_info(source)
    for longest in sides(info, ReferenceOptions(), "largest"):
        follow = partial(_track_one_face, models, info, seconds, longest)
        if tracks is None:
            track = follow()
        else:
            key = track_key(info.path, models.tracker.name, models.weights, 0.0, seconds, "largest", longest)
            track = tracks.get(key, follow)
        box = head_crop(track.box, track.size)
        if box.side >= CROP_SIZE:
            break
    if framed_as is not None:
        box = _same_place(framed_as, track, info.path)
    return track_in_crop(track, box, models.face_model)


def _same_place(person: Person, track: FaceTrack, path: Path) -> CropBox:
    """Return the person's crop in frames of another size and the same shape. Raises MediaError for another shape."""
    (width, height), own = track.size, person.frame_size
    scale = width / own[0]
    if abs(own[1] * scale - height) > SAME_SHAPE * height:
        raise MediaError(
            f"{path}: frames of {width}x{height}, expected the shape of the reference's, {own[0]}x{own[1]}, for "
            "--retarget exact; use --retarget person"
        )
    box = person.box
    return CropBox(round(box.x0 * scale), round(box.y0 * scale), max(round(box.side * scale), 1))


def _track_one_face(models: Models, info: MediaInfo, seconds: float, longest: int | None) -> FaceTrack:
    try:
        return track_video(models, info, 0.0, seconds, longest)
    except NoFaceError as error:  # what follows the semicolon names options that apply to the reference alone
        said = str(error).rpartition(";")[0]
        raise NoFaceError(f"{said}; cut it to a part that shows one face all the time") from error
