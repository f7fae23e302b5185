"""The geometric picture on unseen subjects: `python benchmarks/picture.py STORE [--references 8] [--step 5]`.

References come from the first 64 frames of every clip, targets are its later frames, driven by their own tracked
mesh (the protocol of Table 2). Rows: the last of the 64 held; the nearest reference as it is; the nearest reference
warped; warped with mouth and eyes from references of their own, as thgen draws it. SSIM with an 11x11 Gaussian on
RGB at 256², and the mean absolute difference (0..255) in a square around the mouth.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from thcli.checkpoints import find_weights
from thcli.clips.decode import read_clip
from thcli.data.store import Store
from thcli.face_model import OUTER_LIPS, FaceModel
from thcli.faces.pose import deposed
from thcli.mouth_interior import MouthInterior
from thcli.records import FaceTrack, Float
from thcli.render.attachment import learn_attachment, prior_attachment
from thcli.render.matcher import EYES, MOUTH, eye_cost, mouth_cost, pose_cost, turn_cost
from thcli.render.picture import PictureRenderer
from thcli.synthesis.compose import Part, compose
from thcli.synthesis.references import choose_references

PAST = 64
CHUNK = 16
ROWS = ("last held", "nearest", "warp", "warp + parts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--step", type=int, default=5, help="every so many frames are drawn")
    parser.add_argument("--json", type=Path, help="also write the figures of every clip")
    arguments = parser.parse_args()
    store = Store(arguments.store)
    model = FaceModel.load(find_weights("face_model.safetensors"))
    table = {}
    print(f"{'clip':10} frames  " + "  ".join(f"{row:>18}" for row in ROWS))
    for meta in store.select(arguments.split):
        frames = read_clip(store.crop(meta.clip)).frames
        track = store.track(meta.clip)
        figures = measure(frames, track, model, arguments.references, arguments.step)
        table[meta.clip] = {row: figures[i].tolist() for i, row in enumerate(ROWS)}
        print_row(meta.clip, len(range(PAST, len(track), arguments.step)), figures)
    means = np.array([[table[clip][row] for row in ROWS] for clip in table]).mean(0)
    print_row("mean", len(table), means)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1))


def print_row(name: str, count: int, figures: Float) -> None:
    print(f"{name:10} {count:6}  " + "  ".join(f"{ssim:9.3f} {mouth:8.2f}" for ssim, mouth in figures), flush=True)


def measure(frames: np.ndarray, track: FaceTrack, model: FaceModel, count: int, step: int) -> Float:
    """[rows, 2]: mean SSIM and mouth difference over the clip's later frames."""
    faces = deposed(track)
    chosen = choose_references(track.pose[:PAST], faces[:PAST], track.confidence[:PAST], count)
    images, meshes = as_images(frames[chosen]), torch.from_numpy(track.mesh[chosen])
    attachment = learn_attachment(images, meshes, torch.from_numpy(model.faces).long(), prior_attachment())
    interior = MouthInterior.load(find_weights("mouth_interior.safetensors"))
    renderer = PictureRenderer(images, meshes, model, attachment, interior=interior)
    held = as_images(frames[PAST - 1 : PAST])
    rows = []
    times = np.arange(PAST, min(len(track), len(frames)), step)
    for t in (times[i : i + CHUNK] for i in range(0, len(times), CHUNK)):
        pose, past_pose = track.pose[t], track.pose[chosen]
        base = one_hot(pose_cost(pose, past_pose))
        mouth = one_hot(mouth_cost(faces[t], faces[chosen]) + turn_cost(pose, past_pose, MOUTH))
        eyes = one_hot(eye_cost(faces[t], faces[chosen]) + turn_cost(pose, past_pose, EYES))
        with torch.inference_mode():
            warped, windows = renderer.draw(torch.from_numpy(track.mesh[t]), base, mouth, eyes)
            whole = compose(warped, [Part(w.image, w.mask, w.top, w.left) for w in windows])
        nearest = images[torch.from_numpy(base.argmax(1))]
        truth, box = as_images(frames[t]), mouth_boxes(track.mesh[t])
        made = (held.expand_as(truth), nearest, warped, whole)
        rows.append([[compare(a, b, where) for a, b, where in zip(one, truth, box, strict=True)] for one in made])
    return np.concatenate(rows, axis=1).mean(axis=1)


def as_images(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255


def one_hot(cost: Float) -> Float:
    return np.eye(cost.shape[1], dtype=np.float32)[cost.argmin(1)]


def mouth_boxes(meshes: Float) -> list[tuple[slice, slice]]:
    """Squares of 1.4 times the lips' longer side around them, as rows and columns."""
    boxes = []
    for lips in meshes[:, OUTER_LIPS, :2]:
        low, high = lips.min(0), lips.max(0)
        centre, half = (low + high) / 2, 0.7 * (high - low).max()
        edges = np.clip([centre - half, centre + half], 0, 256).round().astype(int)
        boxes.append((slice(edges[0, 1], edges[1, 1]), slice(edges[0, 0], edges[1, 0])))
    return boxes


def compare(made: torch.Tensor, truth: torch.Tensor, where: tuple[slice, slice]) -> tuple[float, float]:
    from skimage.metrics import structural_similarity

    made_image, true_image = made.permute(1, 2, 0).numpy(), truth.permute(1, 2, 0).numpy()
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    ssim = structural_similarity(made_image, true_image, channel_axis=2, **settings)
    return float(ssim), float(255 * np.abs(made_image[where] - true_image[where]).mean())


if __name__ == "__main__":
    main()
