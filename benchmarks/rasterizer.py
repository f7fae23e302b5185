"""Measure the geometry of the renderer: `python benchmarks/rasterizer.py [--threads 1] [--size 256] [--device cpu]`.

The target is at most 15 ms for one 256 x 256 frame of about 500 vertices on one core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from thcli.checkpoints import shipped_weights
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.render.landmark_maps import draw_landmarks
from thcli.render.mesh import project_texture, texture_mesh
from thcli.render.rasterize import interpolate, rasterize

ROUNDS = 50
FACE_SHARE = 0.57
"""Height of the face over the side of the square crop."""


def face_mesh(model: FaceModel, size: int) -> Tensor:
    """Return the canonical face [1, V, 3] as large as faces are in a crop, in pixels."""
    canonical = torch.from_numpy(model.canonical)
    scale = FACE_SHARE * size / (canonical[:, 1].max() - canonical[:, 1].min())
    return (canonical * scale + torch.tensor([size / 2, size / 2, 0.0]))[None]


def sheet(size: int, n: int = 22) -> tuple[Tensor, Tensor]:
    """Return a mesh [1, n * n, 3] that fills the image, which takes longer than a face, and its triangles."""
    y, x = torch.meshgrid(torch.linspace(0, size, n), torch.linspace(0, size, n), indexing="ij")
    index = torch.arange(n * n).view(n, n)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])
    return torch.stack([x, y, torch.sin(x / 40) * 20], dim=-1).reshape(1, -1, 3), faces


def milliseconds(work: Callable[[], object], device: str) -> float:
    """Return the median time of one call."""
    times = []
    for _ in range(ROUNDS + 3):
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[3:])


def measure(name: str, mesh: Tensor, faces: Tensor, size: int, device: str) -> None:
    """Print the times that one mesh takes."""
    mesh, faces = mesh.to(device), faces.to(device)
    image = torch.rand(3, size, size, device=device)
    fragments = rasterize(mesh, faces, size, size)
    texture = texture_mesh(image, mesh[0], faces)
    leaf = mesh.clone().requires_grad_()

    def forward_and_backward() -> None:
        rasterized = rasterize(leaf, faces, size, size)
        interpolate(rasterized, faces, leaf).sum().backward()

    covered = fragments.mask.float().mean().item()
    print(f"{name}: {mesh.shape[1]} vertices, {len(faces)} triangles, {covered:.0%} of {size} x {size} pixels covered")
    jobs: dict[str, Callable[[], object]] = {
        "rasterize": lambda: rasterize(mesh, faces, size, size),
        "interpolate 3 channels": lambda: interpolate(fragments, faces, mesh),
        "project_texture (rasterizes too)": lambda: project_texture(texture, mesh, size, size),
        "rasterize, interpolate, backward": forward_and_backward,
    }
    for label, work in jobs.items():
        print(f"  {label:34s} {milliseconds(work, device):7.2f} ms")


def main() -> None:
    """Measure the face, the sheet and the landmark map."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    mesh = face_mesh(model, arguments.size)
    measure("face", mesh, torch.from_numpy(model.faces), arguments.size, arguments.device)
    measure("full frame", *sheet(arguments.size), arguments.size, arguments.device)
    landmarks = mesh[:, list(LANDMARKS_68), :2].to(arguments.device)
    drawing = milliseconds(lambda: draw_landmarks(landmarks, arguments.size, arguments.size), arguments.device)
    print(f"draw_landmarks: {drawing:.2f} ms")


if __name__ == "__main__":
    main()
