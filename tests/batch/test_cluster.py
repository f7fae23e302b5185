"""The jobs of a batch on Ray: on a cluster of this machine with two workers, and without any."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from thcli.commands.main import main

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a cluster with two CPU cores and no GPU, in processes of its own."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0, "include_dashboard": False})
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["batch", *map(str, arguments)])
    return result.exit_code, result.stderr


def test_batch_on_ray_makes_the_videos_of_one_process(listed: Path, tmp_path: Path, address: str) -> None:
    bad = {"id": "bad", "ref": "word.wav", "audio": "word.wav", "renderer": "warp"}
    listed.write_text(listed.read_text() + json.dumps(bad) + "\n")
    code, said = run(listed, "--out-dir", tmp_path / "out", "--ray", address)
    assert code == 7, said
    assert f"thgen: bad: {tmp_path}/word.wav: no picture in it; give a video or a photo\n" in said
    assert "thgen: 4 jobs: 3 done, 1 failed; 30 frames" in said
    records = [json.loads(line) for line in (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()]
    ended = {record["id"]: (record["status"], record["exit_code"], record["frames"]) for record in records}
    assert ended == {**dict.fromkeys(("one", "two", "three"), ("done", 0, 10)), "bad": ("failed", 3, None)}

    lines = listed.read_text().splitlines()[:3]
    listed.write_text("\n".join(lines))
    assert run(listed, "--out-dir", tmp_path / "here")[0] == 0
    for name in ("one", "two", "three"):
        assert (tmp_path / "out" / f"{name}.mp4").read_bytes() == (tmp_path / "here" / f"{name}.mp4").read_bytes()
    assert run(listed, "--out-dir", tmp_path / "out", "--ray", address, "--resume")[1].startswith(
        "3 jobs: 0 done, 3 sk"
    )


def test_batch_on_ray_leaves_signals_to_thgen(
    listed: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own handler of SIGTERM would end the command without a word."""
    during = []

    def run_cluster(self: object) -> list[object]:
        during.append(signal.getsignal(signal.SIGTERM))
        return []

    monkeypatch.setattr("thcli.batch.cluster._Cluster.run", run_cluster)
    before = signal.signal(signal.SIGTERM, handler := lambda *_: None)
    try:
        assert run(listed, "--out-dir", tmp_path / "out", "--ray", address)[0] == 0
        assert during == [handler] == [signal.getsignal(signal.SIGTERM)]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_batch_on_ray_refuses_an_address_without_a_cluster(listed: Path, tmp_path: Path) -> None:
    code, said = run(listed, "--out-dir", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert code == 2 and said.startswith("thgen: error: --ray 127.0.0.1:1: no cluster (") and said.count("\n") == 1
