"""Declaration in a video that a model made it (IPTC digital source type), with which program, and from what.

It stands in the file twice: in a comment, which programs that copy a video keep, and as XMP, which photo programs read
(docs/files.md).
"""

from __future__ import annotations

import html
import re
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

import ffmpeg

from thcli.clips.ffmpeg import Reader, arguments, label, open_input

XMP_KEY = "xmp"
"""Key of the XMP packet in the metadata given to ``VideoWriter``; the other keys are ffmpeg's."""
SOURCE_TYPE = "trainedAlgorithmicMedia"
"""IPTC's digital source type of media that a model made."""
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source type of media of which a model made a part: the lips of a dubbed video."""
_XMP_UUID = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # XMP specification part 3, ISO base media files
SOURCE_URI = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""Beginning of the addresses of IPTC's digital source types."""
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<Iptc4xmpExt:DigitalSourceType>{type}</Iptc4xmpExt:DigitalSourceType><xmp:CreatorTool>{tool}</xmp:CreatorTool>{source}
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
_SAYS = {SOURCE_TYPE: "Synthetic talking-head video made by ", COMPOSITE: "Filmed video with synthetic lips made by "}
_COMMENT = re.compile(
    f"(?:{'|'.join(map(re.escape, _SAYS.values()))})"
    rf"(?P<tool>.{{1,200}}?) \((?P<type>{'|'.join(_SAYS)})\)(?:, from (?P<sources>.*))?"
)
_HASH = re.compile(r"([a-z]{1,20}) sha256:([0-9a-f]{64})")
_MAX_PACKET = _MAX_LISTING = 1 << 20
"""Most bytes that are read of an XMP packet, and of a file's other metadata; thgen writes a thousandth of that."""


@dataclass(frozen=True)
class Declaration:
    """Declaration of a file that it is synthetic.

    tool: name and version of the program that made it, empty where the file does not say
    sources: SHA-256 of the files it was made from, by role (``ref``, ``audio``…)
    comment: whether its comment declares it synthetic
    xmp: whether its XMP packet does
    source_type: IPTC's digital source type that it declares
    """

    tool: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    comment: bool = False
    xmp: bool = False
    source_type: str = SOURCE_TYPE

    @property
    def synthetic(self) -> bool:
        """Whether the file declares itself synthetic anywhere."""
        return self.comment or self.xmp


def provenance(tool: str, sources: Mapping[str, str] | None = None, source_type: str = SOURCE_TYPE) -> dict[str, str]:
    """Return metadata for ``VideoWriter`` that declare the video synthetic.

    tool: name and version of the program, such as "thgen 0.1.0"
    sources: SHA-256, by role, of the files that the video is made from
    source_type: ``SOURCE_TYPE``, or ``COMPOSITE`` where only the lips are synthetic
    """
    made_from = ", ".join(f"{role} sha256:{digest}" for role, digest in (sources or {}).items())
    said = f"<dc:source>{escape(made_from)}</dc:source>" if made_from else ""
    return {
        "comment": f"{_SAYS[source_type]}{tool} ({source_type}){', from ' if made_from else ''}{made_from}",
        XMP_KEY: _PACKET.format(type=SOURCE_URI + source_type, tool=escape(tool), source=said),
    }


def xmp_box(packet: str) -> bytes:
    """Return an XMP packet as a top-level ``uuid`` box, valid at the end of any MP4, where it shifts no offset."""
    content = _XMP_UUID.bytes + packet.encode()
    return struct.pack(">I4s", 8 + len(content), b"uuid") + content


def read_declaration(path: Path) -> Declaration:
    """Read the declaration of a media file from its comment and, in an MP4, from its XMP packet."""
    said = _COMMENT.search(_comment(path))
    packet = _packet(path)
    kind = _element(packet, "DigitalSourceType").rpartition("/")[2]
    claims = kind in _SAYS
    tool, sources = ("", "") if said is None else (said["tool"], said["sources"] or "")
    return Declaration(
        tool=tool or (_element(packet, "CreatorTool") if claims else ""),
        sources=dict(_HASH.findall(sources or (_element(packet, "source") if claims else ""))),
        comment=said is not None,
        xmp=claims,
        source_type=said["type"] if said is not None else kind if claims else SOURCE_TYPE,
    )


def _comment(path: Path) -> str:
    """Return the comment that ffmpeg finds in a file of any format, or an empty string."""
    listing = ffmpeg.output(open_input(path), "pipe:1", format="ffmetadata")
    buffer = memoryview(bytearray(_MAX_LISTING))
    with Reader(arguments(listing), label(path)) as reader:
        text = bytes(buffer[: reader.fill(buffer)]).decode(errors="replace")
    found = re.search(r"^comment=((?:\\.|[^\\\n])*)", text, re.I | re.M | re.S)
    return "" if found is None else re.sub(r"\\(.)", r"\1", found[1], flags=re.S)


def _packet(path: Path) -> str:
    """Return the XMP packet among the top-level boxes of an MP4, or an empty string, also for other files."""
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        at = 0
        while at + 24 <= end:
            file.seek(at)
            kind, header, size = _box(file, end - at)
            if size < header:  # not a box, so the file is not an MP4 or is broken
                return ""
            if kind == b"uuid" and file.read(16) == _XMP_UUID.bytes:
                return file.read(min(size - header - 16, _MAX_PACKET)).decode(errors="replace")
            at += size
    return ""


def _box(file: BinaryIO, left: int) -> tuple[bytes, int, int]:
    """Read the header of a box: its kind, bytes of the header, and bytes of the whole box.

    left: bytes to the end of the file, which are the box's where its header gives 0
    """
    size, kind = struct.unpack(">I4s", file.read(8))
    if size == 1:
        return kind, 16, struct.unpack(">Q", file.read(8))[0]
    return kind, 8, size or left


def _element(packet: str, name: str) -> str:
    """Return the text of an element, found by a pattern, because an untrusted file is not given to an XML parser."""
    found = re.search(rf"<(?:\w+:)?{name}>([^<]{{0,4096}})<", packet)
    return "" if found is None else html.unescape(found[1])
