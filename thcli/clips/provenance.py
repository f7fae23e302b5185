"""What the output says of itself: made by a model (IPTC digital source type), in a comment and as XMP."""

from __future__ import annotations

import struct
import uuid
from xml.sax.saxutils import escape

XMP_KEY = "xmp"
"""Key of the XMP packet in the metadata given to ``VideoWriter``; the other keys are ffmpeg's."""
_XMP_UUID = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")  # XMP specification part 3, ISO base media files
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType><xmp:CreatorTool>{tool}</xmp:CreatorTool>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def provenance(tool: str) -> dict[str, str]:
    """Metadata for ``VideoWriter`` that declares the video synthetic; ``tool`` is name and version, "thgen 0.1.0"."""
    return {
        "comment": f"Synthetic talking-head video made by {tool} (trainedAlgorithmicMedia)",
        XMP_KEY: _PACKET.format(source=_SOURCE_TYPE, tool=escape(tool)),
    }


def xmp_box(packet: str) -> bytes:
    """The XMP packet as a top-level ``uuid`` box; legal at the end of any MP4, where it moves no offset."""
    content = _XMP_UUID.bytes + packet.encode()
    return struct.pack(">I4s", 8 + len(content), b"uuid") + content
