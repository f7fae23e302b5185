"""Fine detail of mouth and eyes stays the photograph's."""

from __future__ import annotations

import torch

from thcli.render.detail import LOST, keep_detail

EVERYWHERE = torch.ones(1, 1, 256, 256)
FLAT = torch.zeros(1, 3, 256, 256)


def noise(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) - 0.5


def wave(size: int, lengths: int) -> torch.Tensor:
    return (torch.arange(size) * 2 * torch.pi * lengths / size).sin().expand(1, 3, size, size)


def test_away_from_the_features_nothing_is_changed() -> None:
    change = noise(0)
    assert torch.equal(keep_detail(change, noise(1), torch.zeros(1, 1, 256, 256)), change)


def test_in_the_features_what_is_broad_stays_and_what_is_fine_goes() -> None:
    broad = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    kept = keep_detail(broad + noise(1), FLAT, EVERYWHERE)
    assert (kept - broad).std() < 0.35 * noise(1).std()
    assert torch.allclose(keep_detail(broad, FLAT, EVERYWHERE)[..., 8:-8], broad[..., 8:-8], atol=1e-5)


def test_fine_detail_of_the_photograph_is_made_stronger_and_what_is_broad_in_it_is_not() -> None:
    fine, broad = wave(256, 64), wave(256, 4)
    more = keep_detail(FLAT, fine, EVERYWHERE)[..., 8:-8]
    assert torch.allclose(more, LOST * fine[..., 8:-8], atol=0.35 * LOST)
    assert (more * fine[..., 8:-8]).mean() > 0.6 * LOST * fine.square().mean()
    assert keep_detail(FLAT, broad, EVERYWHERE)[..., 8:-8].abs().max() < 0.05 * LOST


def test_it_is_the_same_part_of_a_larger_picture() -> None:
    large = keep_detail(wave(512, 12), wave(512, 48), torch.ones(1, 1, 512, 512))
    small = keep_detail(wave(256, 12), wave(256, 48), EVERYWHERE)
    assert torch.allclose(large[..., ::2, ::2][..., 8:-8], small[..., 8:-8], atol=0.02)
