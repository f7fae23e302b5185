"""``--sign`` from the command line to ``thgen doctor``: a signed video, a changed one, and a key that nobody sees."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def signed(thgen, folder, inputs, certify):
    """Make a signed video of a list whose only job names certificate and key beside it."""
    certify(folder / "ada", name="Ada L.")
    job = {"id": "a", "ref": str(inputs / "photo.png"), "audio": str(inputs / "word.wav"), "mesh": "face.glb"}
    (folder / "jobs.jsonl").write_text(json.dumps({**job, "sign": "ada/cert.pem", "key": "ada/key.pem"}))
    given = ("batch", "jobs.jsonl", "--out-dir", "out", "--renderer", "warp", "--device", "cpu")
    said = thgen(*given)
    assert said.code == 0, said.err
    assert said.new == ("out/a.mp4", "out/a.mp4.json", "out/face.glb", "out/outcomes.jsonl")
    assert thgen(*given, "--resume").err.startswith("1 job: 0 done, 1 skipped")
    return folder / "out" / "a.mp4"


def test_doctor_says_who_signed_a_video_and_whether_it_was_changed_since(thgen, signed, folder):
    said = thgen("doctor", signed)
    assert said.code == 0, said.out
    (line,) = [line for line in said.out.splitlines() if line.startswith("ok    signature ")]
    assert "valid, signed by Ada L.; the file is as it was signed" in line
    assert said.out.splitlines()[-1] == "note  the sidecar is not signed: anyone can remove or change it"
    secret = (folder / "ada" / "key.pem").read_text().splitlines()[1].encode()
    for path in signed.parent.iterdir():
        assert secret not in path.read_bytes() and b"key.pem" not in path.read_bytes(), path
    content = bytearray(signed.read_bytes())
    content[len(content) // 2] ^= 1
    signed.write_bytes(content)
    said = thgen("doctor", signed)
    assert (said.code, said.err) == (7, "thgen: 2 faults: signature, sidecar\n")
    assert "FAULT signature  broken: signed by Ada L., and changed since (" in said.out
