"""docs/files.md names every key, column and array of the files that it describes, and none that are not there."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "files.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def first_column(text: str) -> list[str]:
    """Names in the first column of the tables of a section, without the headings."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_page_names_the_keys_of_the_sidecar(tmp_path: Path) -> None:
    from thcli.generation.result import FineTuneReport, LearnedPart, Result
    from thcli.generation.sidecar import read_sidecar, sources_of, write_sidecar
    from thcli.pipeline.options import GenerateOptions

    for name in ("a.png", "a.wav", "a.mp4"):
        (tmp_path / name).touch()
    options = GenerateOptions(renderer="warp")
    sources = sources_of(tmp_path / "a.png", tmp_path / "a.wav", options.motion_options, {})
    fine_tuned = FineTuneReport(1, "original", {}, {})
    part = LearnedPart(0.0, 4.0, 4.0)
    output = tmp_path / "a.mp4"
    made = Result(output, 1, (2, 2), {"draw": 1.0}, "cpu", fine_tuned=fine_tuned, learned=part, dubbed=1.0)
    write_sidecar(sources, tmp_path / "a.mp4", options, made, precision=None)
    record = read_sidecar(tmp_path / "a.mp4")
    assert record is not None
    assert set(first_column(section("The sidecar"))) == {*record, "report", "change_outside"}


def test_page_names_the_columns_of_curves() -> None:
    from thcli.motion.curves import COLUMNS

    named = first_column(section("Curves"))
    assert [f"e{i:02d}" for i in range(20)][::19] == [name for name in named if re.fullmatch(r"e\d\d", name)]
    assert set(named) == {name for name in COLUMNS if not re.fullmatch(r"e(0[1-9]|1[0-8])", name)}


def test_page_shows_a_job_that_is_read_and_names_the_keys_of_outcomes(tmp_path: Path) -> None:
    from thcli.batch.jobs import read_jobs
    from thcli.batch.outcomes import Outcome
    from thcli.pipeline.options import GenerateOptions

    text = section("Jobs and outcomes")
    (tmp_path / "jobs.jsonl").write_text(re.search(r"^ +(\{.*\})$", text, re.MULTILINE)[1])
    (job,) = read_jobs(tmp_path / "jobs.jsonl", tmp_path / "out", GenerateOptions())
    assert (job.id, job.options.motion_scale) == ("ada-1", 1.2)
    assert first_column(text) == [field.name for field in fields(Outcome)]


def test_page_names_the_arrays_of_face_tracks() -> None:
    from thcli.records import FaceTrack

    named = first_column(section("Face tracks"))
    assert set(named) == {"fps", "log_mel", "activity", *(field.name for field in fields(FaceTrack))}


def test_page_names_the_files_and_keys_of_a_store_and_of_episodes() -> None:
    from thcli.data import episodes, store

    assert first_column(section("The store")) == [field.name for field in fields(store.ClipMeta)]
    assert all(
        name in section("The store") for name in (store.INDEX, store.CROP, store.SPEECH, store.TRACK, store.META)
    )
    text = section("Episodes")
    assert all(f"`{field.name}`" in text for kind in (episodes.EpisodeMeta, episodes.Episode) for field in fields(kind))


def test_page_names_the_keys_of_checkpoints() -> None:
    from thcli.checkpoints import Header

    assert set(first_column(section("Weights"))) == {field.name for field in fields(Header)}


def test_page_names_the_keys_and_files_of_an_export(tmp_path: Path) -> None:
    from thcli.export.run import export_all
    from thcli.pipeline.models import load_models

    export_all(tmp_path / "onnx", load_models(device="cpu"))
    manifest, text = json.loads((tmp_path / "onnx" / "manifest.json").read_text()), section("Exported networks")
    networks = [one["file"] for one in manifest["files"]]
    assert set(first_column(text)) == {*manifest, *networks}
    assert all(f"`{key}`" in text for one in manifest["files"] for key in one)


@pytest.mark.parametrize("line", re.findall(r"^ +(\{\"stage.*\})$", PAGE, re.MULTILINE))
def test_page_shows_a_progress_line_of_the_schema(line: str) -> None:
    schema = json.loads((ROOT / "docs" / "progress.schema.json").read_text())
    assert list(json.loads(line)) == schema["required"] == list(schema["properties"])


def test_links_of_the_page_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", PAGE, re.M)
    }
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) > 10
    assert all(link[1:] in anchors if link.startswith("#") else (ROOT / "docs" / link).is_file() for link in links)
