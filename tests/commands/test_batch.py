"""``thgen batch`` makes the videos of a list, in one process or in shards, and resumes where it stopped."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from thcli.faces import track as tracking
from thcli.pipeline import person
from thcli.records import FaceTrack

SMILE = "note: the mouth smiles broadly in the photo, which is taken out for speech; a calm face looks better"
"""Note on the portrait of the demo."""
JOBS = ["jobs.jsonl", "--out-dir", "out", "--renderer", "warp", "--device", "cpu"]
MakeList = Callable[..., None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the cache of face tracks a folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "thgen" / "tracks"


@pytest.fixture
def jobs(folder: Path, portrait_png: Path, speech_wav: Path) -> MakeList:
    """jobs(**changes) writes jobs.jsonl with a job of six frames for each name, which has the keys that are given."""
    with wave.open(str(speech_wav)) as whole, wave.open(str(folder / "word.wav"), "wb") as word:
        word.setparams(whole.getparams())
        word.writeframes(whole.readframes(3840))

    def make(**changes: dict[str, object]) -> None:
        lines = [{"id": name, "ref": str(portrait_png), "audio": "word.wav", **more} for name, more in changes.items()]
        (folder / "jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return make


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the clips that are tracked."""
    clips: list[str] = []

    def track(clip, *rest) -> FaceTrack:
        clips.append(clip.path.name)
        return tracking.track_clip(clip, *rest)

    monkeypatch.setattr(person, "track_clip", track)
    return clips


def outcomes(folder: Path, name: str = "outcomes.jsonl") -> dict[str, tuple[str, int]]:
    """Read status and exit code of each job."""
    records = map(json.loads, (folder / "out" / name).read_text().splitlines())
    return {record["id"]: (record["status"], record["exit_code"]) for record in records}


def test_batch_goes_on_after_a_bad_job_and_ends_with_code_7(
    thgen, folder: Path, jobs: MakeList, tracked: list[str], cache: Path
) -> None:
    jobs(
        a={"seed": 1},
        bad={"ref": "word.wav"},
        gone={"audio": "none.wav"},
        b={"save-curves": "c/b.csv", "output": "x/b.mp4"},
    )
    said = thgen("batch", *JOBS)
    assert said.code == 7 and said.out == ""
    told, first, second, again, last = said.err.splitlines()
    assert (told, again) == (f"thgen: a: {SMILE}", f"thgen: b: {SMILE}")
    assert first == f"thgen: bad: {folder}/word.wav: no picture in it; give a video or a photo"
    assert second.startswith(f"thgen: gone: {folder}/none.wav: ")
    assert last.startswith("thgen: 4 jobs: 2 done, 2 failed; 12 frames in ") and last.endswith("s; out/outcomes.jsonl")
    expected = ("out/a.mp4", "out/a.mp4.json", "out/c/b.csv", "out/outcomes.jsonl", "out/x/b.mp4", "out/x/b.mp4.json")
    assert said.new == expected
    assert outcomes(folder) == {"a": ("done", 0), "bad": ("failed", 3), "gone": ("failed", 3), "b": ("done", 0)}
    assert tracked == ["portrait.png"] and len(list(cache.iterdir())) == 1
    thgen("batch", *JOBS, "--overwrite")
    assert tracked == ["portrait.png"]


def test_batch_tells_the_notes_that_generate_tells(thgen, folder: Path, jobs: MakeList, portrait_png: Path) -> None:
    """Two seconds of silence hold no speech; the note is on standard error, in the log and in the sidecar."""
    with wave.open(str(folder / "silence.wav"), "wb") as silence:
        silence.setparams((1, 2, 16_000, 0, "NONE", ""))
        silence.writeframes(bytes(2 * 8_000))
    jobs(a={"audio": "silence.wav"}, b={"audio": "silence.wav", "report": "b.json"})
    said = thgen("batch", *JOBS).err.splitlines()
    note = "no speech is heard in the sound: the mouth stays closed; give another recording"
    assert {f"thgen: a: note: {note}", f"thgen: a: {SMILE}", f"thgen: b: note: {note}"} <= set(said)
    logged = [json.loads(line) for line in (folder / "out" / "outcomes.jsonl").read_text().splitlines()]
    notes = [SMILE.removeprefix("note: "), note]
    assert logged[0]["notes"] == notes and set(notes) <= set(logged[1]["notes"])
    assert json.loads((folder / "out" / "a.mp4.json").read_text())["notes"] == notes


def test_batch_makes_the_video_that_generate_makes(thgen, folder: Path, jobs: MakeList, portrait_png: Path) -> None:
    jobs(a={}, b={"seed": 3, "motion-scale": 0.5})
    assert thgen("batch", *JOBS).code == 0
    given = ["--seed", 3, "--motion-scale", 0.5, "--renderer", "warp", "--device", "cpu"]
    assert thgen("generate", "--ref", portrait_png, "--audio", "word.wav", "-o", "b.mp4", *given).code == 0
    assert (folder / "b.mp4").read_bytes() == (folder / "out" / "b.mp4").read_bytes()


def test_batch_with_resume_makes_what_is_not_done(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(a={}, b={})
    assert "\n2 jobs: 2 done; 12 frames in " in thgen("batch", *JOBS).err
    again = thgen("batch", *JOBS)
    assert again.code == 7 and "a.mp4: exists already; add --overwrite" in again.err
    jobs(a={}, b={"seed": 1}, c={})
    (folder / "out" / "a.mp4.json").unlink()
    said = thgen("batch", *JOBS, "--resume", "--dry-run")
    assert said.code == 0 and said.new == ()
    assert [line.split(",")[0] for line in said.out.splitlines()] == [f"{n}: {folder}/out/{n}.mp4" for n in "abc"]
    assert "\n3 jobs: 3 done; 18 frames" in thgen("batch", *JOBS, "--resume").err
    assert thgen("batch", *JOBS, "--resume").err.startswith("3 jobs: 0 done, 3 skipped; 0 frames")
    assert thgen("batch", *JOBS, "--resume", "--dry-run").out.splitlines()[1] == f"b: done already, {folder}/out/b.mp4"
    assert "\n3 jobs: 3 done; " in thgen("batch", *JOBS, "--resume", "--references", 3).err


def test_batch_shares_jobs_among_shards_in_one_folder(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(**{name: {} for name in "abcde"})
    for part in (1, 2):
        assert thgen("batch", *JOBS, "--shard", f"{part}/2").code == 0
    first, second = (outcomes(folder, f"outcomes.{part}-of-2.jsonl") for part in (1, 2))
    assert first and second and not set(first) & set(second)
    assert {**first, **second} == dict.fromkeys("abcde", ("done", 0))
    assert not (folder / "out" / "outcomes.jsonl").exists()


def test_batch_ends_well_where_a_shard_is_empty(thgen, jobs: MakeList) -> None:
    jobs(a={})
    said = [thgen("batch", *JOBS, "--shard", f"{part}/9", "--dry-run") for part in range(1, 10)]
    assert [s.code for s in said] == [0] * 9 and sum(bool(s.out) for s in said) == 1
    empty = next(part for part, s in enumerate(said, 1) if not s.out)
    assert thgen("batch", *JOBS, "--shard", f"{empty}/9").err.startswith("0 jobs: 0 done; 0 frames")


def test_batch_with_fail_fast_stops_at_the_first_bad_job(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(bad={"ref": "word.wav"}, a={}, b={})
    said = thgen("batch", *JOBS, "--fail-fast")
    assert said.code == 7 and "3 jobs: 0 done, 1 failed, 2 not begun; 0 frames" in said.err
    assert said.new == ("out/outcomes.jsonl",)


def test_batch_dry_run_names_what_would_fail_and_writes_nothing(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(a={"report": "sub/r.html"}, bad={"ref": "word.wav"})
    said = thgen("batch", *JOBS, "--dry-run")
    assert (said.code, said.new) == (7, ())
    assert said.out.splitlines() == [
        f"a: {folder}/out/a.mp4, 6 frames, cpu",
        f"bad: {folder}/word.wav: no picture in it; give a video or a photo",
    ]
    assert said.err == "thgen: error: 1 of 2 jobs would fail\n"
    assert not (folder / "out").exists()


def test_batch_refuses_a_list_with_a_wrong_line(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(a={}, b={"speed": 3})
    said = thgen("batch", *JOBS)
    assert said.code == 2 and said.new == ()
    assert said.err.startswith("thgen: error: jobs.jsonl:2: unknown key 'speed'; did you mean 'seed'?")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.jsonl", "--out-dir", "out"], 3, "error: none.jsonl: cannot be read (No such file or directory)"),
        ([*JOBS, "--shard", "3/2"], 2, "error: --shard 3/2: expected I/N, the I-th of N parts, with I from 1 to N"),
        (JOBS[:1], 2, "error: Missing option '--out-dir'."),
        ([*JOBS, "--retries", "-1"], 2, "error: Invalid value for '--retries': -1 is not in the range"),
    ],
)
def test_batch_refuses_wrong_use_in_one_line(thgen, jobs: MakeList, arguments: list[str], code: int, said: str) -> None:
    jobs(a={})
    result = thgen("batch", *arguments)
    assert result.code == code and result.err.startswith(f"thgen: {said}") and result.err.count("\n") == 1
    assert result.new == ()


def test_batch_refuses_a_folder_without_weights(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(a={})
    (folder / "none").mkdir()
    said = thgen("batch", *JOBS, "--weights", "none")
    assert (said.code, said.new) == (5, ())
    assert said.err.startswith("thgen: error: none: holds none of the weights looked for (")


def test_batch_reads_standard_input_and_reports_progress(thgen, folder: Path, jobs: MakeList) -> None:
    jobs(a={}, b={"renderer": "network", "audio": "none.wav"})
    said = thgen("batch", "-", *JOBS[1:], "--progress", "json", stdin=(folder / "jobs.jsonl").read_bytes())
    assert said.code == 7 and outcomes(folder) == {"a": ("done", 0), "b": ("failed", 3)}
    shown = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert (shown[0]["stage"], shown[0]["done"], shown[-1]["done"], shown[-1]["total"]) == ("jobs", 0, 2, 2)


def test_batch_refuses_ray_where_it_is_not_installed(
    thgen, folder: Path, jobs: MakeList, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    jobs(a={})
    said = thgen("batch", *JOBS, "--ray")
    assert (said.code, said.err) == (2, "thgen: error: --ray: Ray is not installed; pip install '.[ray]'\n")
    assert not (folder / "out").exists()
