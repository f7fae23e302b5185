"""``thgen doctor VIDEO`` examines what a video declares, and whether the sidecar beside it is its own and unedited."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.clips.provenance import provenance
from thcli.doctor.check import Check
from thcli.doctor.video import examine_video
from thcli.errors import MediaError
from thcli.generation.result import Result
from thcli.generation.sidecar import rewrite_sidecar, sidecar_path, sources_of, write_sidecar
from thcli.pipeline.models import load_models
from thcli.pipeline.options import GenerateOptions


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Write a black video that declares to be thgen's, with its sidecar."""
    (tmp_path / "ref.png").write_bytes(b"ref")
    (tmp_path / "speech.wav").write_bytes(b"speech")
    options = GenerateOptions(renderer="warp")
    weights = load_models(device="cpu").hashes(theta=False)
    sources = sources_of(tmp_path / "ref.png", tmp_path / "speech.wav", options.motion_options, weights)
    path = tmp_path / "out.mp4"
    with VideoWriter(path, (64, 64), None, 2, provenance("thgen 1", sources.hashes)) as writer:
        for _ in range(2):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    write_sidecar(sources, path, options, Result(path, 2, (64, 64), {"draw": 1.0}, "cpu"), None)
    return path


def checks_of(path: Path) -> dict[str, Check]:
    """Return the checks of a video by name; those with a fault, and no others, say what to do."""
    checks = examine_video(path)
    assert all(check.ok == (not check.fix) for check in checks)
    return {check.name: check for check in checks}


def edit_sidecar(video: Path, **changes: object) -> None:
    """Change keys of a video's sidecar, as a text editor would."""
    record = json.loads(sidecar_path(video).read_text())
    sidecar_path(video).write_text(json.dumps({**record, **changes}))


def test_examine_video_accepts_a_video_beside_its_own_sidecar(video: Path) -> None:
    checks = checks_of(video)
    assert list(checks) == ["file", "declares", "made from", "signature", "sidecar"] and all(
        c.ok for c in checks.values()
    )
    assert "made by thgen 1; said in the comment and as XMP" in checks["declares"].found
    assert checks["sidecar"].found.endswith("and of this very file")
    record = json.loads(sidecar_path(video).read_text())
    assert record["output"]["sha256"] in checks["file"].found
    assert f"ref {record['inputs']['ref']['sha256']}" in checks["made from"].found


def test_examine_video_finds_no_fault_in_a_missing_sidecar(video: Path) -> None:
    sidecar_path(video).unlink()
    checks = checks_of(video)
    assert all(check.ok for check in checks.values())
    assert checks["sidecar"].found == f"none at {video}.json: what is known is what the video says"


def test_examine_video_finds_an_edited_sidecar(video: Path) -> None:
    edit_sidecar(video, frames=3)
    (fault,) = (check for check in examine_video(video) if not check.ok)
    assert fault.name == "sidecar" and "was edited after it was written" in fault.found


def test_examine_video_finds_a_sidecar_that_is_not_json(video: Path) -> None:
    sidecar_path(video).write_text("{")
    assert checks_of(video)["sidecar"].found == f"{video}.json: not a sidecar of thgen"


def test_examine_video_finds_another_file_beside_the_sidecar(video: Path) -> None:
    copied = video.with_name("copied.mp4")
    subprocess.run([executable(), "-v", "error", "-i", video, "-c", "copy", copied], check=True)
    copied.replace(video)
    checks = checks_of(video)
    assert checks["declares"].ok and "said in the comment alone" in checks["declares"].found
    assert not checks["sidecar"].ok and "not of this one: the video was copied anew" in checks["sidecar"].found


def test_examine_video_finds_other_sources_in_a_resealed_sidecar(video: Path) -> None:
    record = json.loads(sidecar_path(video).read_text())
    record["inputs"]["ref"]["sha256"] = "0" * 64
    rewrite_sidecar(video, record)
    assert checks_of(video)["sidecar"].found.endswith("and the video name different sources (ref)")


@pytest.mark.parametrize(
    "changes",
    [{"inputs": 3}, {"inputs": "x"}, {"weights": []}, {"weights": "x"}, {"output": "x"}, {"inputs": {"ref": None}}],
)
def test_examine_video_reports_nonsense_in_a_sidecar_as_an_edit(video: Path, changes: dict[str, object]) -> None:
    edit_sidecar(video, **changes)
    assert "was edited after it was written" in " ".join(c.found for c in examine_video(video) if not c.ok)


def test_examine_video_finds_no_declaration_in_a_video_without_metadata(video: Path) -> None:
    sidecar_path(video).unlink()
    subprocess.run(
        [executable(), "-v", "error", "-i", video, "-c", "copy", "-map_metadata", "-1", video.with_name("n.mp4")],
        check=True,
    )
    checks = checks_of(video.with_name("n.mp4"))
    assert list(checks) == ["file", "declares", "signature", "sidecar"]
    assert not checks["declares"].ok and "cannot be told" in checks["declares"].found
    assert checks["sidecar"].found.endswith("nothing is known of the video")


def test_examine_video_refuses_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(MediaError, match="not a video, photo or sound file"):
        examine_video(tmp_path / "a.mp4")
