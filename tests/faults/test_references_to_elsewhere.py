"""Media that name other files or hosts are refused, and neither is opened, whatever the file claims to be."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

CANARY = "canary.ts"


@pytest.fixture
def port() -> Iterator[tuple[int, list[bytes]]]:
    """Open a local port that must not be called, and record the calls."""
    calls: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        done = threading.Event()

        def listen() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    calls.append(b"called")

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], calls
        done.set()
        thread.join()


@pytest.fixture
def canary(media, folder) -> Path:
    """Make a video that only a reference leads to; it has sound, so that it could serve as any input."""
    media(CANARY, "-i", "clip.mp4", "-c:v", "mpeg2video", "-c:a", "mp2")
    return folder / CANARY


# Each of these functions writes a file of one kind that refers to a target.


def hls(target):
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"


def hls_key(target):
    return (f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n'
            "#EXT-X-ENDLIST\n")  # fmt: skip


def concat(target):
    return f"ffconcat version 1.0\nfile '{target}'\n"


def concat_of_old(target):
    return f"file '{target}'\n" * 20


def dash(target):
    return (f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
            f'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL><SegmentBase/>'
            "</Representation></AdaptationSet></Period></MPD>")  # fmt: skip


def sdp(target):
    return (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=control:{target}\n"
    )


def smil(target):
    return f'<smil><body><video src="{target}"/></body></smil>'


def asx(target):
    return f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'


def svg(target):
    return f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}" width="64" height="64"/></svg>'


def avisynth(target):
    return f'DirectShowSource("{target}")\n'


KINDS = (hls, hls_key, concat, concat_of_old, dash, sdp, smil, asx, svg, avisynth)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_inspect_refuses_lists_and_documents_that_name_other_files(thgen, generate, folder, canary, port, kind):
    number, calls = port
    for target in (str(canary), CANARY, f"file:{canary}", f"http://127.0.0.1:{number}/a.ts",
                   f"tcp://127.0.0.1:{number}", f"concat:{canary}|{canary}"):  # fmt: skip
        name = "list.m3u8" if target == CANARY else "list.mp4"
        (folder / name).write_text(kind(target))
        said = thgen("inspect", name)
        assert (said.code, said.out, said.new) == (3, "", ()), said.err
        assert said.err.startswith(f"thgen: error: {name}: ") and said.err.count("\n") == 1
    (folder / "sound.wav").write_text(kind(str(canary)))
    assert generate("photo.png", "sound.wav").code == 3
    assert calls == []


def mov_with_tracks_elsewhere(data: bytes, target: Path) -> bytes:
    """Return an MP4 whose tracks, by absolute and relative path, are said to lie in another file."""
    alias = str(target).encode()
    record = bytearray(150)
    struct.pack_into(">HH", record, 4, 150, 2)
    for kind, text in ((2, alias), (18, alias)):
        record += struct.pack(">HH", kind, len(text)) + text + b"\0" * (len(text) % 2)
    record += struct.pack(">HH", 0xFFFF, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + bytes(record)
    old = struct.pack(">I4sI", 12, b"url ", 1)
    grown = len(entry) - len(old)
    content = bytearray(data)
    at = content.find(old)
    while at >= 0:
        content[at : at + len(old)] = entry
        for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
            place = content.rfind(box, 0, at) - 4
            struct.pack_into(">I", content, place, struct.unpack_from(">I", content, place)[0] + grown)
        at = content.find(old, at + len(entry))
    return bytes(content)


def test_inspect_does_not_read_tracks_from_another_file(thgen, folder, media, canary):
    """The tracks are read from the file itself, which has other bytes at their place: the canary is not shown."""
    media("own.mov", "-i", "clip.mp4", "-c:v", "mpeg4", "-c:a", "pcm_s16le")
    data = (folder / "own.mov").read_bytes()
    assert thgen("inspect", "own.mov").code == 0
    moved = mov_with_tracks_elsewhere(data, canary)
    assert moved.count(b"alis") == 2 and str(canary).encode() in moved
    start = moved.index(b"mdat") + 4
    blank = moved[:start] + bytes(moved.index(b"moov") - 4 - start) + moved[moved.index(b"moov") - 4 :]
    canary.write_bytes(moved)  # It holds the tracks at the same offsets.
    (folder / "a.mov").write_bytes(blank)
    media("fetched.mov", "-enable_drefs", 1, "-use_absolute_path", 1, "-i", "a.mov")
    assert thgen("inspect", "fetched.mov").code == 0  # An ffmpeg that may read other files finds the tracks.
    said = thgen("inspect", "a.mov")
    assert (said.code, said.out, said.new) == (3, "", ())
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("protocol", ["http", "tcp", "udp", "rtmp", "ftp"])
def test_generate_and_inspect_take_addresses_for_file_names(generate, thgen, port, protocol):
    number, calls = port
    for name in (f"{protocol}://127.0.0.1:{number}/a.mp4", f"{protocol}:127.0.0.1:{number}"):
        message = f"{name.replace('//', '/')}: no such file; check the name and the folder"
        generate(name).refused(3, message)
        thgen("inspect", name, "-o", "a.png").refused(3, message)
        generate("photo.png", name).refused(3, message)
    assert calls == []


@pytest.mark.parametrize(
    "name", ["concat:canary.ts|canary.ts", "subfile,,start,0,end,0,,:canary.ts", "crypto:canary.ts", "pipe:0", "fd:0",
             "data:video/mp4;base64,AAAA", "lavfi", "testsrc", "canary.%d.ts", "canary*.ts", "cache:canary.ts"],
)  # fmt: skip
def test_inspect_takes_protocols_of_ffmpeg_for_file_names(thgen, canary, name):
    (canary.parent / "canary.1.ts").write_bytes(canary.read_bytes())
    said = thgen("inspect", name, "-o", "a.png")
    said.refused(3, f"{Path(name)}: no such file; check the name and the folder")


def test_inspect_takes_a_pattern_of_images_for_a_file_name(thgen, folder):
    for number in (1, 2):
        (folder / f"a{number}.png").write_bytes((folder / "photo.png").read_bytes())
    thgen("inspect", "a%d.png").refused(3, "a%d.png: no such file; check the name and the folder")
    (folder / "a%d.png").write_bytes(b"no picture")
    said = thgen("inspect", "a%d.png")
    assert (said.code, said.new) == (3, ())
