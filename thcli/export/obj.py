"""Writing of a still face as Wavefront OBJ with its material and texture, for programs that read no glTF."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image as Pictures

from thcli.checkpoints import write_atomic
from thcli.export.animated_face import AnimatedFace, face_parts, in_metres
from thcli.version import __version__


def write_obj(path: Path, face: AnimatedFace) -> None:
    """Write the face as the texture's frame shows it, to NAME.obj, NAME.mtl and NAME.png; an OBJ does not move.

    The OBJ is written last, so that it is there only where the others are.
    """
    material, picture = path.with_suffix(".mtl"), path.with_suffix(".png")
    buffer = io.BytesIO()
    Pictures.fromarray(face.texture.image).save(buffer, "PNG")
    write_atomic(picture, buffer.getvalue())
    # illum 0: the picture's own colours, without lights
    write_atomic(material, f"newmtl face\nKd 1 1 1\nillum 0\nmap_Kd {picture.name}\n".encode())
    lines = [f"# thgen {__version__}; metres, y up", f"mtllib {material.name}", "o face"]
    lines += ["v {:.7f} {:.7f} {:.7f}".format(*point) for point in in_metres(face.shown)]
    lines += [f"vt {u:.6f} {1 - v:.6f}" for u, v in face.texture.uv]
    lines.append("usemtl face")
    for name, faces in face_parts(face.model).items():
        lines.append(f"g {name}")
        lines += ["f " + " ".join(f"{vertex}/{vertex}" for vertex in triangle) for triangle in faces + 1]
    write_atomic(path, ("\n".join(lines) + "\n").encode())
