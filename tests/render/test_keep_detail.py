"""keep_detail leaves fine detail to the photograph."""

from __future__ import annotations

import torch

from thcli.render.frames import LOST, SAME, keep_detail

FLAT = torch.zeros(1, 3, 256, 256)
NOWHERE = torch.zeros(1, 1, 256, 256)


def noise(seed: int) -> torch.Tensor:
    """Return white noise [1, 3, 256, 256] in -0.5..0.5."""
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) - 0.5


def wave(size: int, lengths: int) -> torch.Tensor:
    """Return an image [1, 3, size, size] of so many wavelengths across."""
    return (torch.arange(size) * 2 * torch.pi * lengths / size).sin().expand(1, 3, size, size)


def test_keep_detail_removes_fine_and_keeps_broad_change() -> None:
    broad = SAME / 2 * torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    fine = SAME / 2 * noise(1)
    kept = keep_detail(broad + fine, FLAT, NOWHERE)
    assert (kept - broad).std() < 0.35 * fine.std()
    assert torch.allclose(keep_detail(broad, FLAT, NOWHERE)[..., 8:-8], broad[..., 8:-8], atol=1e-5)


def test_keep_detail_raises_the_photograph_s_fine_detail_alone() -> None:
    fine, broad = wave(256, 64), wave(256, 4)
    more = keep_detail(FLAT, fine, NOWHERE)[..., 8:-8]
    assert torch.allclose(more, LOST * fine[..., 8:-8], atol=0.35 * LOST)
    assert (more * fine[..., 8:-8]).mean() > 0.6 * LOST * fine.square().mean()
    assert keep_detail(FLAT, broad, NOWHERE)[..., 8:-8].abs().max() < 0.05 * LOST


def test_keep_detail_leaves_no_edge_where_the_change_moves_an_outline() -> None:
    columns = torch.arange(256.0).expand(1, 3, 256, 256)
    here, there = (torch.sigmoid(2 * (columns - edge)) for edge in (100, 112))
    image = here + keep_detail(there - here, here, NOWHERE)
    assert (image - there)[..., 95:105].abs().max() < 0.01
    raised = keep_detail(FLAT, here, NOWHERE)[..., 95:105]
    assert raised.abs().max() > 0.01 * LOST  # an edge that stays is made up for


def test_keep_detail_acts_alike_at_twice_the_resolution() -> None:
    large = keep_detail(SAME * wave(512, 12), wave(512, 48), torch.zeros(1, 1, 512, 512))
    small = keep_detail(SAME * wave(256, 12), wave(256, 48), NOWHERE)
    assert torch.allclose(large[..., ::2, ::2][..., 8:-8], small[..., 8:-8], atol=0.02)


def test_keep_detail_leaves_large_changes_of_mouth_and_eyes_to_the_photograph_s_detail() -> None:
    assert keep_detail(noise(1), FLAT, NOWHERE + 1).std() < 0.35 * noise(1).std()
    assert keep_detail(noise(1), FLAT, NOWHERE).std() > 0.9 * noise(1).std()
