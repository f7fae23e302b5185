"""``thgen generate`` refuses wrong input with an exit code, one line and no file left, and makes videos end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from thcli.checkpoints import shipped_weights
from thcli.pipeline.progress import Quiet


@pytest.fixture
def speech(folder, speech_wav):
    """Write one second of the demo's speech."""
    import wave

    with wave.open(str(speech_wav), "rb") as whole, wave.open(str(folder / "speech.wav"), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(16_000))
    return "speech.wav"


@pytest.fixture
def photo(folder, portrait_png):
    (folder / "photo.png").write_bytes(portrait_png.read_bytes())
    return "photo.png"


def one_line(said, code, message):
    """Check that a command ended with a code and one line, and wrote nothing."""
    assert (said.code, said.out, said.new) == (code, "", ())
    assert said.err == f"thgen: error: {message}\n"


@pytest.mark.parametrize("wrong", ["--ref", "--audio"])
def test_generate_refuses_a_missing_file(thgen, speech, photo, wrong):
    given = {"--ref": photo, "--audio": speech} | {wrong: "gone.mp4"}
    said = thgen("generate", *(part for pair in given.items() for part in pair), "-o", "out.mp4")
    one_line(said, 3, "gone.mp4: no such file; check the name and the folder")


def test_generate_refuses_a_folder_as_reference(thgen, folder, speech):
    (folder / "clips").mkdir()
    said = thgen("generate", "--ref", "clips", "--audio", speech)
    one_line(said, 3, "clips: a folder, expected a media file; name one of the files in it")


def test_generate_refuses_an_empty_file(thgen, folder, speech):
    (folder / "empty.mp4").touch()
    said = thgen("generate", "--ref", "empty.mp4", "--audio", speech)
    one_line(said, 3, "empty.mp4: the file is empty; copy or record it again")


def test_generate_refuses_a_text_named_mp4(thgen, folder, speech):
    (folder / "text.mp4").write_text("this is no video")
    said = thgen("generate", "--ref", "text.mp4", "--audio", speech)
    one_line(
        said, 3, "text.mp4: not a video, photo or sound file that ffmpeg reads; expected MP4, MOV, WAV, MP3, JPEG…"
    )


def test_generate_refuses_sound_without_audio_stream(thgen, media, photo):
    mute = media("mute.mp4", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=1", "-pix_fmt", "yuv420p")
    said = thgen("generate", "--ref", photo, "--audio", mute)
    one_line(said, 3, "mute.mp4: no audio stream; give a sound file or a video with sound")


def test_generate_refuses_a_photo_without_face(thgen, folder, speech):
    from PIL import Image
    from skimage.data import coffee

    Image.fromarray(coffee()).save(folder / "coffee.png")
    said = thgen("generate", "--ref", "coffee.png", "--audio", speech)
    one_line(said, 4, "coffee.png: no face found; choose a picture with a face at least 64 pixels high")


def test_generate_refuses_a_clip_without_face(thgen, faceless_clip, speech):
    said = thgen("generate", "--ref", faceless_clip, "--audio", speech)
    one_line(
        said,
        4,
        "bars.mp4: no face from frame 0 (0.0 s) on, and at most 12 frames can be bridged; "
        "choose another part with --start, or another face with --face",
    )


def test_generate_refuses_a_face_that_is_not_there(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--face", "3")
    one_line(
        said,
        4,
        "photo.png: 1 face in view, counted from left to right from 0, and no face 3; "
        "choose --face 0, or --face largest",
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--face", "smallest", "--face smallest: expected largest, an index from 0, or X,Y,W,H in pixels"),
        ("--face", "1,2,3", "--face 1,2,3: expected largest, an index from 0, or X,Y,W,H in pixels"),
        ("--face", "-1", "--face -1: expected largest, an index from 0, or X,Y,W,H in pixels"),
        ("--blink", "often", "--blink often: expected reference, none, or seconds above 0"),
        ("--blink", "0", "--blink 0: expected reference, none, or seconds above 0"),
    ],
)
def test_generate_refuses_an_unknown_value(thgen, photo, speech, option, value, message):
    one_line(thgen("generate", "--ref", photo, "--audio", speech, option, value), 2, message)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_generate_keeps_an_existing_output_without_overwrite(thgen, folder, photo, speech, dry):
    (folder / "photo_speech.mp4").write_text("mine")
    said = thgen("generate", "--ref", photo, "--audio", speech, *dry)
    one_line(said, 2, "photo_speech.mp4: exists already; add --overwrite, or choose another name")
    assert (folder / "photo_speech.mp4").read_text() == "mine"


@pytest.mark.parametrize("name", ["speech.wav", "photo.png", "../here/photo.png"])
def test_generate_refuses_an_output_that_is_an_input(thgen, folder, photo, speech, name):
    said = thgen("generate", "--ref", photo, "--audio", speech, "-o", name, "--overwrite")
    one_line(said, 2, f"{name}: is also an input; choose another output with -o")


def test_generate_refuses_an_output_in_no_folder(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "-o", "no/out.mp4")
    one_line(said, 3, "no/out.mp4: no such folder no; make it first")


def test_generate_refuses_a_missing_folder_of_weights(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--weights", "gone")
    assert said.code == 5
    assert said.err.startswith("thgen: error: gone: no such folder of weights; give --weights a folder that holds ")
    assert (said.err.count("\n"), said.new) == (1, ())


@pytest.mark.parametrize("holds", [[], ["README.md"], ["expression.onnx"]])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_generate_refuses_a_folder_without_what_it_looks_for(thgen, folder, photo, speech, holds, dry):
    (folder / "weights").mkdir()
    for name in holds:
        (folder / "weights" / name).touch()
    said = thgen("generate", "--ref", photo, "--audio", speech, "--weights", "weights", *dry)
    assert said.code == 5
    assert said.err.startswith("thgen: error: weights: holds none of the weights looked for (")
    assert (
        "face_model.safetensors" in said.err
        and said.err.endswith("); give --weights a folder that holds some\n")
        and said.err.count("\n") == 1
    )


def test_generate_names_the_folders_where_weights_lie_in_several(thgen, folder, photo, speech):
    (folder / "weights").mkdir()
    shutil.copy(shipped_weights() / "expression.safetensors", folder / "weights")
    given = ("generate", "--ref", photo, "--audio", speech, "--weights", "weights", "--renderer", "warp")
    rest = "face_model.safetensors, speech_encoder.safetensors, speech_adapter.safetensors, head_motion.safetensors"
    rest += ", mouth_interior.safetensors, matting.onnx, unprojection.onnx"
    dry = thgen(*given, "--dry-run").out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in dry if line.startswith("weights ")] == [
        "weights: expression.safetensors", f"shipped: {rest}, detection.onnx"
    ]  # fmt: skip
    note = f"note: weights: expression.safetensors (weights); {rest}, detection.onnx (shipped)\n"
    assert note in thgen(*given, "-o", "out.mp4").err


def test_generate_refuses_damaged_weights(thgen, folder, photo, speech):
    (folder / "weights").mkdir()
    (folder / "weights/expression.safetensors").write_bytes(b"PK\x03\x04 not what it says")
    said = thgen("generate", "--ref", photo, "--audio", speech, "--weights", "weights")
    one_line(
        said,
        5,
        "weights/expression.safetensors: not a thgen checkpoint; expected safetensors with a 'thgen' header",
    )


def test_generate_refuses_the_network_renderer_without_its_weights(thgen, photo, speech, no_theta_shipped):
    given = ("generate", "--ref", photo, "--audio", speech, "--renderer", "network")
    for dry in ([], ["--dry-run"]):
        message = f"generator.safetensors: no such weights in {no_theta_shipped}; "
        one_line(thgen(*given, *dry), 5, message + "reinstall thgen or give --weights a folder that has them")


def test_generate_refuses_an_unknown_device(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--device", "cuda:99")
    one_line(said, 6, "--device cuda:99: no such device here; use --device cpu")


@pytest.mark.parametrize("stage", ["track", "draw"])
def test_generate_leaves_nothing_when_interrupted_at_a_stage(thgen, photo, speech, monkeypatch, stage):
    def begin(self, name, total):
        if name == stage:
            raise KeyboardInterrupt

    monkeypatch.setattr(Quiet, "stage", begin)
    said = thgen("generate", "--ref", photo, "--audio", speech)
    assert (said.code, said.err, said.new) == (130, "thgen: interrupted\n", ())


def test_generate_leaves_nothing_when_interrupted_as_it_writes(thgen, photo, speech, monkeypatch):
    from thcli.clips.encode import VideoWriter

    write = VideoWriter.write

    def interrupted(self, frame):
        write(self, frame)
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    said = thgen("generate", "--ref", photo, "--audio", speech)
    assert (said.code, said.err, said.new) == (130, "thgen: interrupted\n", ())


def test_generate_names_a_full_disk(thgen, photo, speech, monkeypatch):
    import errno

    from thcli.clips.encode import VideoWriter

    def full(self, frame):
        raise OSError(errno.ENOSPC, "No space left on device", "photo_speech.mp4")

    monkeypatch.setattr(VideoWriter, "write", full)
    said = thgen("generate", "--ref", photo, "--audio", speech)
    one_line(said, 3, "photo_speech.mp4: no space left on the disk; free some, or write elsewhere")


def test_generate_makes_a_video_of_a_photo(thgen, folder, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--device", "cpu", "--progress", "json")
    assert (said.code, said.out, said.new) == (0, "", ("photo_speech.mp4", "photo_speech.mp4.json"))
    *lines, last, note = said.err.splitlines()
    assert note.startswith("thgen: note: the mouth smiles broadly in the photo")
    assert {json.loads(line)["stage"] for line in lines} == {"listen", "track", "move", "draw"}
    assert last.startswith("photo_speech.mp4: 25 frames in ")
    made = json.loads((folder / "photo_speech.mp4.json").read_text())
    assert (made["frames"], made["size"], made["device"], made["options"]["seed"]) == (25, [256, 256], "cpu", 0)


def test_generate_warns_of_a_size_larger_than_the_clip_has(thgen, folder, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--device", "cpu", "-o", "out.mp4", "--size", "512")
    assert (said.code, said.out, said.new) == (0, "", ("out.mp4", "out.mp4.json"))
    (noted,) = (line for line in said.err.splitlines() if "note" in line and "smiles" not in line)
    assert noted.startswith("thgen: note: --size 512: head and shoulders are ")
    assert json.loads((folder / "out.mp4.json").read_text())["size"] == [512, 512]


def test_generate_refuses_a_size_for_a_whole_frame(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--frame", "full", "--size", "512")
    one_line(said, 2, "--size 512: --frame full has the clip's own size; leave out one of the two")


def test_generate_writes_a_report(thgen, folder, photo, speech):
    given = ("--ref", photo, "--audio", speech, "--device", "cpu", "-o", "out.mp4")
    said = thgen("generate", *given, "--report", "out.html", "--progress", "json")
    assert (said.code, said.out, said.new) == (0, "", ("out.html", "out.mp4", "out.mp4.json"))
    stages = {json.loads(line)["stage"] for line in said.err.splitlines() if line.startswith("{")}
    assert "report" in stages
    assert said.err.splitlines()[-1] == "out.html: report, 2 warnings"
    assert (folder / "out.html").read_text().startswith("<!doctype html>")


def test_generate_refuses_a_report_of_another_kind(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--report", "report.pdf")
    expected = "expected a name that ends in .html (a page) or .json (the same as data)"
    one_line(said, 2, f"--report report.pdf: {expected}")


def test_generate_refuses_a_report_over_another_file(thgen, folder, photo, speech):
    (folder / "report.html").write_text("mine")
    said = thgen("generate", "--ref", photo, "--audio", speech, "--report", "report.html")
    one_line(said, 2, "report.html: exists already; add --overwrite, or choose another name")
    said = thgen("generate", "--ref", photo, "--audio", speech, "--report", photo, "--overwrite")
    one_line(said, 2, "photo.png: is also an input; choose another output with --report")
    said = thgen("generate", "--ref", photo, "--audio", speech, "--report", "no/report.html")
    one_line(said, 3, "no/report.html: no such folder no; make it first")


def test_generate_refuses_a_report_of_a_video_that_is_not_kept(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "-o", "-", "--report", "report.html")
    one_line(said, 2, "--report: is made from the finished video, and -o - keeps none; give -o a file")


def test_generate_refuses_sound_as_reference(thgen, speech):
    said = thgen("generate", "--ref", speech, "--audio", speech)
    one_line(said, 3, "speech.wav: no picture in it; give a video or a photo")


def test_generate_dry_run_says_what_would_be_done(thgen, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", speech, "--dry-run")
    assert (said.code, said.err, said.new) == (0, "", ())
    assert said.out.splitlines()[:3] == [
        "reference  photo.png (256x256, photo)",
        "audio      speech.wav",
        "output     photo_speech.mp4, 25 frames at 25 a second",
    ]
    uses = "uses       tracker builtin 2, motion from audio, expression from audio, renderer "
    assert said.out.splitlines()[-1].startswith(uses)


def test_a_video_is_made_without_scipy_which_takes_a_quarter_of_a_second_to_import(folder, media, portrait_png, speech):
    clip = media("clip.mp4", "-loop", 1, "-framerate", 25, "-t", 1, "-i", portrait_png, "-pix_fmt", "yuv420p")
    given = ["generate", "--ref", clip, "--audio", speech, "-o", "out.mp4", "--device", "cpu", "--workers", "1"]
    script = (
        "import atexit, sys\n"
        "from thcli.commands.main import main\n"
        "atexit.register(lambda: print([name for name in ('torch', 'scipy') if name in sys.modules]))\n"
        f"sys.argv[1:] = {[str(one) for one in given]}\n"
        "main()"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "['torch']"


def test_generate_reads_standard_input_and_refuses_what_is_not_sound(thgen, folder, photo, speech):
    said = thgen("generate", "--ref", photo, "--audio", "-", "--dry-run", "-o", "-", stdin=b"")
    assert (said.code, said.new) == (0, ())
    said = thgen("generate", "--ref", photo, "--audio", "-", stdin=b"no sound at all")
    assert (said.code, said.new) == (3, ())
