"""Fine detail of mouth and eyes stays the photograph's."""

from __future__ import annotations

import torch

from thcli.synthesis.detail import keep_detail


def noise(seed: int) -> torch.Tensor:
    return torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(seed)) - 0.5


def test_away_from_the_features_nothing_is_changed() -> None:
    change = noise(0)
    assert torch.equal(keep_detail(change, torch.zeros(1, 1, 256, 256)), change)


def test_in_the_features_what_is_broad_stays_and_what_is_fine_goes() -> None:
    everywhere = torch.ones(1, 1, 256, 256)
    broad = torch.linspace(-1, 1, 256).expand(1, 3, 256, 256)
    kept = keep_detail(broad + noise(1), everywhere)
    assert (kept - broad).std() < 0.3 * noise(1).std()
    assert torch.allclose(keep_detail(broad, everywhere)[..., 8:-8], broad[..., 8:-8], atol=1e-5)


def test_it_is_the_same_part_of_a_larger_picture() -> None:
    place = torch.linspace(0, 24 * torch.pi, 512)
    wave = place.sin().expand(1, 3, 512, 512)
    large = keep_detail(wave, torch.ones(1, 1, 512, 512))
    small = keep_detail(wave[..., ::2, ::2], torch.ones(1, 1, 256, 256))
    assert torch.allclose(large[..., ::2, ::2][..., 8:-8], small[..., 8:-8], atol=0.02)
