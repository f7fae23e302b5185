"""Landmark maps are line drawings of the 68 landmarks; feature maps mark mouth and eyes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thcli.render.landmark_maps import SEGMENTS, draw_features, draw_landmarks

HEIGHT, WIDTH = 40, 52


def scattered(seed: int = 0, batch: int = 2) -> Tensor:
    """Return random landmarks [batch, 68, 2], some of them beyond the image."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 68, 2, generator=generator) * torch.tensor([WIDTH + 20.0, HEIGHT + 20.0]) - 10


def slow_map(landmarks: Tensor, line_width: float) -> Tensor:
    """Draw one map by comparing every pixel with every segment."""
    image = torch.zeros(HEIGHT, WIDTH)
    for start, end in SEGMENTS:
        (ax, ay), (bx, by) = landmarks[start].tolist(), landmarks[end].tolist()
        square = (bx - ax) ** 2 + (by - ay) ** 2
        for row in range(HEIGHT):
            for column in range(WIDTH):
                x, y = column + 0.5, row + 0.5
                share = min(1.0, max(0.0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square))
                distance = math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay))
                value = min(1.0, max(0.0, line_width / 2 + 0.5 - distance))
                image[row, column] = max(image[row, column], value)
    return image


def test_draw_landmarks_agrees_with_a_slow_drawing() -> None:
    landmarks = scattered()
    found = draw_landmarks(landmarks, HEIGHT, WIDTH, line_width=1.5)
    assert found.shape == (2, 1, HEIGHT, WIDTH)
    assert found.dtype == torch.float32
    assert torch.allclose(found[1, 0], slow_map(landmarks[1], 1.5), atol=1e-4)


def test_segments_join_landmarks_within_the_parts_of_a_face_only() -> None:
    joined = {frozenset(segment) for segment in SEGMENTS}
    assert len(joined) == len(SEGMENTS) == 63
    for start, end in ((36, 41), (42, 47), (48, 59), (60, 67)):
        assert frozenset((start, end)) in joined
    for last_of_part in (16, 21, 26, 30, 35, 41, 47, 59):
        assert frozenset((last_of_part, last_of_part + 1)) not in joined


def test_draw_landmarks_moves_the_drawing_with_the_landmarks() -> None:
    landmarks = scattered() * 0.5 + 10
    moved = draw_landmarks(landmarks + torch.tensor([3.0, 2.0]), HEIGHT, WIDTH)
    still = draw_landmarks(landmarks, HEIGHT, WIDTH)
    assert torch.allclose(moved[..., 2:, 3:], still[..., :-2, :-3], atol=1e-4)


def test_draw_landmarks_of_coinciding_landmarks_with_depth_draws_one_dot() -> None:
    landmarks = torch.full((1, 68, 3), 20.5)
    found = draw_landmarks(landmarks, HEIGHT, WIDTH)
    assert found[0, 0, 20, 20] == 1
    assert 1 < found.sum() < 9


def test_draw_landmarks_draws_nothing_for_broken_and_distant_landmarks() -> None:
    for value in (float("nan"), float("inf"), 1e30, -1e30, 5e3):
        assert draw_landmarks(torch.full((1, 68, 2), value), HEIGHT, WIDTH).sum() == 0


def test_draw_features_marks_mouth_and_eyes_softly() -> None:
    landmarks = torch.zeros(2, 68, 2)
    landmarks[:, 36:42] = torch.tensor([[20.0, 20], [24, 18], [28, 18], [32, 20], [28, 22], [24, 22]])
    landmarks[:, 42:48] = landmarks[:, 36:42] + torch.tensor([24.0, 0])
    landmarks[:, 48:68] = 40 + 8 * torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    landmarks[1] += 10
    features = draw_features(landmarks, 96, 80)
    assert features.shape == (2, 1, 96, 80) and float(features.min()) >= 0 and float(features.max()) == 1
    for marked, points in zip(features, landmarks, strict=True):
        assert all(marked[0, int(y), int(x)] == 1 for x, y in points[36:].tolist())
    assert features[0, 0, 20, 38] == 0 and features[0, 0, 80, 40] == 0
    assert torch.equal(features[0, 0, :-10, :-10], features[1, 0, 10:, 10:])
    # A hard edge would be visible.
    assert float(features.diff(dim=-1).abs().max()) < 1
