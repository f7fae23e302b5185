"""``thgen dub`` refuses what it cannot dub with one line and a code, and changes nothing but lips in what it can."""

from __future__ import annotations

import json
from pathlib import Path

import c2pa
import numpy as np
import pytest
from pygltflib import GLTF2

from thcli.clips.probe import probe
from thcli.clips.timed import stream_stored
from thcli.motion.curves import read_curves


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def word(folder, say):
    say(folder / "word.wav", 0.6)
    return "word.wav"


@pytest.fixture
def video(media, folder, portrait_png, say):
    """Make a second of the portrait at varying time stamps, 320x288, with sound of its own."""
    say(folder / "own.wav", 1.0)
    rest = "select='not(eq(mod(n,6),4))',pad=320:288:40:20:gray"
    path = media(
        "video.mp4", "-loop", 1, "-framerate", 30, "-t", 1, "-i", portrait_png, "-i", "own.wav", "-vf", rest,
        "-fps_mode", "vfr", "-pix_fmt", "yuv420p", "-crf", 12,
    )  # fmt: skip
    (folder / "own.wav").unlink()
    return path


def test_a_photo_is_sent_to_generate(thgen, folder, portrait_png, word):
    (folder / "photo.png").write_bytes(portrait_png.read_bytes())
    said = thgen("dub", "photo.png", "--audio", word)
    said.refused(2, "photo.png: a photo, expected a video; use thgen generate --ref photo.png")


def test_sound_alone_is_refused(thgen, folder, say, word):
    say(folder / "other.wav", 0.5)
    thgen("dub", "other.wav", "--audio", word).refused(3, "other.wav: no video stream, only sound; expected a video")


def test_a_silent_speech_is_refused(thgen, folder, say, faceless_clip):
    say(folder / "silent.wav", 0.5, 0.0)
    thgen("dub", faceless_clip, "--audio", "silent.wav").refused(
        3, "silent.wav: silence, expected speech; check the recording"
    )


def test_a_video_without_sound_is_no_speech(thgen, media, faceless_clip):
    media("mute.mp4", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=1", "-pix_fmt", "yuv420p")
    thgen("dub", faceless_clip, "--audio", "mute.mp4").refused(
        3, "mute.mp4: no audio stream; give a sound file or a video with sound"
    )


def test_a_video_without_a_face_is_refused(thgen, faceless_clip, word, own_cache):
    said = thgen("dub", faceless_clip, "--audio", word)
    said.refused(4, "bars.mp4: no face found in 2.0 s; give a video that shows one")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--from", "2", "--to", "1"], "--to 1: expected seconds after --from 2"),
        (["--to", "1", "--length", "audio"],
         "--length audio: with --to the video keeps its length; leave out one of the two"),
        (["--face", "red"], "--face red: expected largest, an index from 0, or X,Y,W,H in pixels"),
        (["--from", "9"], "--from 9: bars.mp4 lasts 2.00 s; choose an earlier second"),
        (["--expression", "no.mp4"], "--expression no.mp4: no such file; expected audio, a video or a .csv file"),
        (["--renderer", "warp", "--precision", "bf16"],
         "--precision bf16 applies to --renderer network only, and the renderer is warp; leave out --precision"),
        (["--sign", "a.pem", "--key", "k.pem", "-o", "a.mkv"],
         "--sign: Matroska holds no C2PA manifest; give a.mkv a name that ends in .mp4"),
        (["-o", "bars.mp4", "--overwrite"], "bars.mp4: is also an input; choose another output with -o"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(thgen, faceless_clip, word, given, message):
    thgen("dub", faceless_clip, "--audio", word, *given).refused(2, message)


def test_dry_run_says_what_would_be_done_and_writes_nothing(thgen, faceless_clip, word):
    said = thgen("dub", faceless_clip, "--audio", word, "--dry-run")
    assert said.code == 0 and said.new == ()
    lines = said.out.splitlines()
    assert lines[0] == "video      bars.mp4 (160x120, 25 fps)"
    assert lines[2] == "output     bars_word.mp4, about 50 frames"
    assert lines[-1] == "uses       tracker builtin 2, lips from audio, renderer network"


def test_the_lips_change_and_nothing_else(thgen, video, word, folder, own_cache, certify):
    certificate, key = certify(folder.parent / "ada")
    given = ("dub", video, "--audio", word, "-o", "out.mp4", "--renderer", "warp", "--device", "cpu")
    said = thgen(
        *given, "--save-curves", "c.csv", "--mesh", "m.glb", "--report", "r.json", "--sign", certificate, "--key", key
    )
    assert said.code == 0, said.err
    assert said.new == ("c.csv", "m.glb", "out.mp4", "out.mp4.json", "r.json")
    assert "out.mp4: 1.0 s dubbed" in said.err
    mesh = GLTF2.load_from_bytes((folder / "m.glb").read_bytes())
    assert mesh.accessors[mesh.animations[0].samplers[0].input].count == len(read_curves(folder / "c.csv"))
    before, after = (list(stream_stored(probe(Path(name)), timed=True)) for name in (video, "out.mp4"))
    times = [[float(one.time * one.unit) for one in frames] for frames in (before, after)]
    assert np.allclose(*times, atol=1e-4)
    change = np.abs(np.stack([a.frame.y.astype(int) - b.frame.y for a, b in zip(before, after, strict=True)]))
    assert change[:, :100].mean() < 1 and change[:, :, :60].mean() < 1
    assert change[:, 150:230, 130:230].max() > 40 > 20 > change[:, :100].max()  # more than encoding changes
    record = json.loads((folder / "out.mp4.json").read_text())
    assert record["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert (record["lips"], record["rest"], record["size"]) == ("synthetic", "filmed", [320, 288])
    assert record["seconds_dubbed"] == pytest.approx(1.0, abs=0.1) and 0 < record["change_outside"] < 1
    assert set(record["inputs"]) == {"video", "audio"}
    doctor = thgen("doctor", "out.mp4")
    assert "filmed, with synthetic lips (compositeWithTrainedAlgorithmicMedia)" in doctor.out
    assert doctor.code == 0 and "ok    signature  valid, signed by Ada" in doctor.out
    told = json.loads(c2pa.Reader(folder / "out.mp4").json())
    (source,) = told["manifests"][told["active_manifest"]]["ingredients"]
    assert source["instance_id"] == f"sha256:{record['inputs']['video']['sha256']}"
    # The same lips come from the file of curves, and the first pass is not made again.
    signed = ("--sign", certificate, "--key", key)
    again = thgen(*given[:4], "-o", "again.mp4", *given[6:], *signed, "--expression", "c.csv")
    assert again.code == 0 and (folder / "again.mp4").stat().st_size == pytest.approx(
        (folder / "out.mp4").stat().st_size, rel=0.02
    )


def test_the_lips_follow_another_video(thgen, video, word, folder, own_cache):
    given = ("dub", video, "--audio", word, "--renderer", "warp", "--device", "cpu", "--length", "video")
    (folder / "still.mp4").write_bytes(video.read_bytes())
    said = thgen(*given, "-o", "out.mp4", "--expression", "still.mp4", "--save-curves", "c.csv", "--report", "r.html")
    assert said.code == 0, said.err
    assert "video.mp4 says word.wav" in (folder / "r.html").read_text()
    assert set(json.loads((folder / "out.mp4.json").read_text())["inputs"]) == {"video", "audio", "expression"}
    moved = np.genfromtxt(folder / "c.csv", delimiter=",", names=True)
    assert len(moved) == 25 and max(np.ptp(moved[f"e{i:02}"]) for i in range(20)) < 0.5  # a face that never moves


def test_a_longer_speech_makes_the_video_longer_and_a_part_does_not(thgen, video, folder, say, own_cache):
    say(folder / "long.wav", 1.6)
    warp = ("--renderer", "warp", "--device", "cpu")
    assert thgen("dub", video, "--audio", "long.wav", "-o", "long.mp4", *warp).code == 0
    assert probe(Path("long.mp4")).duration == pytest.approx(1.6, abs=0.05)
    said = thgen("dub", video, "--audio", "long.wav", "-o", "part.mp4", "--from", 0.2, "--to", 0.8, *warp)
    assert probe(Path("part.mp4")).duration == pytest.approx(probe(video).duration, abs=0.05)
    assert "out.mp4" not in said.err and "part.mp4: 0.6 s dubbed" in said.err
    assert said.notes == ["the speech lasts 1.6 s and is cut after 0.6 s, at --to 0.8"]


def test_a_batch_takes_dub_jobs(thgen, video, word, folder, own_cache):
    job = {"id": "one", "dub": "video.mp4", "audio": word, "renderer": "warp", "device": "cpu", "to": 0.6}
    (folder / "jobs.jsonl").write_text(json.dumps(job) + "\n")
    assert thgen("batch", "jobs.jsonl", "--out-dir", "made").code == 0
    outcome = json.loads((folder / "made" / "outcomes.jsonl").read_text())
    assert (outcome["status"], outcome["frames"]) == ("done", len(list(stream_stored(probe(video)))))
    again = thgen("batch", "jobs.jsonl", "--out-dir", "made", "--resume")
    assert "1 skipped" in again.err


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"dub": "a.mp4", "audio": "a.wav", "seed": 1}, "unknown key 'seed'"),
        ({"dub": "a.mp4", "audio": "a.wav", "length": "short"}, "--length short: expected longest or audio or video"),
        ({"dub": "a.mp4", "audio": "a.wav", "from": "x"}, 'from: "x", expected a number'),
        ({"ref": "a.mp4", "audio": "a.wav", "length": "audio"}, "unknown key 'length'"),
    ],
)
def test_a_wrong_dub_job_is_refused_with_its_line(thgen, folder, job, message):
    (folder / "jobs.jsonl").write_text(json.dumps({"id": "x", **job}) + "\n")
    said = thgen("batch", "jobs.jsonl", "--out-dir", "made")
    assert said.code == 2 and said.err.startswith(f"thgen: error: jobs.jsonl:1: {message}")
