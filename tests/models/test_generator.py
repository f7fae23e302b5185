"""Θ, the generative network: its modules, its inputs, and what it learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from thgen_models import generator
from thgen_models.blocks import reduced
from thgen_models.flow import warp
from thgen_models.generator import PAPER, Frames, Generator, GeneratorDims, layered
from thgen_models.spade import Spade, Theta, dynamic_convolution, spade_maps

MakeReferences = Callable[..., tuple[Tensor, Tensor]]
MakeFrames = Callable[..., Frames]
MakeTrained = Callable[[GeneratorDims], Generator]

MODULES = ("three_d", "hybrid_attention", "nonlinear_composition", "warping")
WITHOUT = [{}, *({name: False} for name in MODULES), dict.fromkeys(MODULES, False)]
BASELINE = dict.fromkeys(MODULES, False)


def parameters(dims: GeneratorDims) -> int:
    return sum(p.numel() for p in Generator(dims).parameters())


@pytest.mark.parametrize("without", WITHOUT, ids=lambda w: "-".join(w) or "full")
def test_untrained_generator_returns_the_geometric_image(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, without: dict[str, bool]
) -> None:
    torch.manual_seed(0)
    made = Generator(dataclasses.replace(tiny, **without)).from_references(frames(2), *references(1))
    assert torch.equal(made.image, frames(2).geometric)
    assert not made.change.any() and not made.shares.any()


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize("without", WITHOUT, ids=lambda w: "-".join(w) or "full")
def test_generator_has_gradients_in_every_parameter_after_one_step(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, without: dict[str, bool], floor: bool
) -> None:
    torch.manual_seed(0)
    network = Generator(dataclasses.replace(tiny, **without, floor=floor))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    target = torch.rand(2, 3, 32, 32) * 2 - 1
    for _ in range(2):
        optimiser.step()
        optimiser.zero_grad()
        F.mse_loss(network.from_references(frames(2), *references(2)).image, target).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("floor", [True, False])
@pytest.mark.parametrize(
    ("without", "unseen"),
    [
        ({}, ()),
        ({"three_d": False}, ("projected",)),
        ({"hybrid_attention": False}, ()),
        ({"nonlinear_composition": False}, ()),
        ({"warping": False}, ("matched_map",)),
        (BASELINE, ("projected", "matched", "matched_map")),
    ],
)
def test_generator_without_a_module_ignores_its_inputs(
    tiny: GeneratorDims,
    references: MakeReferences,
    frames: MakeFrames,
    trained: MakeTrained,
    without: dict[str, bool],
    unseen: tuple[str, ...],
    floor: bool,
) -> None:
    network = trained(dataclasses.replace(tiny, **without, floor=floor)).eval()
    if not floor:
        unseen = (*unseen, "geometric")
    images, maps = references()
    before = network.from_references(frames(1), images, maps).image
    for field in dataclasses.fields(Frames):
        changed = dataclasses.replace(frames(1), **{field.name: getattr(frames(1, seed=9), field.name)})
        same = torch.equal(network.from_references(changed, images, maps).image, before)
        assert same == (field.name in unseen), field.name
    assert not torch.equal(network.from_references(frames(1), *references(seed=8)).image, before)


def test_generator_without_a_module_lacks_its_parameters(tiny: GeneratorDims) -> None:
    full = parameters(tiny)
    fewer = {name: parameters(dataclasses.replace(tiny, **{name: False})) for name in MODULES}
    assert all(count < full for count in fewer.values())
    assert parameters(dataclasses.replace(tiny, **BASELINE)) < min(fewer.values())
    plain = Generator(dataclasses.replace(tiny, **BASELINE))
    assert plain.projected_flow is plain.matched_flow is plain.matting is None and len(plain.composition.images) == 0


def test_generator_without_floor_paints_the_whole_image(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames
) -> None:
    made = Generator(dataclasses.replace(tiny, floor=False)).from_references(frames(2), *references(1))
    assert torch.equal(made.image, made.change) and made.shares.shape == (2, 0, 32, 32)
    assert made.image.abs().max() <= 1 and (made.image - frames(2).geometric).abs().mean() > 0.1


def test_layered_mixes_images_into_the_geometric_one_by_their_shares() -> None:
    random = torch.Generator().manual_seed(0)
    geometric, change, first, second = torch.rand(4, 1, 3, 2, 4, generator=random)
    shares = torch.rand(1, 2, 2, 4, generator=random)
    made = layered(geometric, [first, second], shares, change)
    for c, y, x in product(range(3), range(2), range(4)):
        was, one, other, painted = (float(t[0, c, y, x]) for t in (geometric, first, second, change))
        of_one, of_other = (float(share) for share in shares[0, :, y, x])
        assert float(made[0, c, y, x]) == pytest.approx(
            (1 - of_one - of_other) * was + of_one * one + of_other * other + painted, abs=1e-6
        )
    ones, nothing = torch.ones(1, 1, 2, 4), torch.zeros(1, 3, 2, 4)
    torch.testing.assert_close(layered(geometric, [second], ones, nothing), second)
    assert torch.equal(layered(geometric, [], ones[:, :0], change), geometric + change)


@pytest.mark.parametrize(
    ("without", "count"),
    [({}, 2), ({"three_d": False}, 1), ({"hybrid_attention": False}, 2), ({"warping": False}, 2),
     ({"nonlinear_composition": False}, 0), (BASELINE, 0)],
)  # fmt: skip
def test_generator_layers_its_image_from_the_shares_of_its_modules(
    tiny: GeneratorDims,
    references: MakeReferences,
    frames: MakeFrames,
    trained: MakeTrained,
    without: dict[str, bool],
    count: int,
) -> None:
    dims, given = dataclasses.replace(tiny, **without), frames(2)
    made = trained(dims).from_references(given, *references(1))
    assert made.shares.shape == (2, count, 32, 32)
    assert (made.projected is None) == (not dims.three_d or not dims.warping)
    assert (made.matched is None) == (not dims.warping)
    if dims.nonlinear_composition:
        images = [given.matched if made.matched is None else made.matched.image]
        if dims.three_d:
            images.insert(0, given.projected if made.projected is None else made.projected.image)
        assert all(share.abs().mean() > 0.01 for share in made.shares.unbind(dim=1))
        assert torch.equal(made.image, layered(given.geometric, images, made.shares, made.change))
    elif not dims.warping:
        assert torch.equal(made.image, given.geometric + made.change)


@pytest.mark.parametrize("count", [1, 3])
def test_generator_gives_a_batch_what_it_gives_single_frames(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained, count: int
) -> None:
    network, batch = trained(tiny).eval(), frames(3)
    embedding = network.embed(*references(1, count))
    together = network(batch, embedding)
    assert together.image.shape == (3, 3, 32, 32) and together.image.isfinite().all()
    for i in range(3):
        one = Frames(*(getattr(batch, field.name)[i : i + 1] for field in dataclasses.fields(Frames)))
        torch.testing.assert_close(network(one, embedding).image, together.image[i : i + 1], atol=2e-5, rtol=0)


def test_generator_pairs_the_frames_of_a_window_with_their_person(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained
) -> None:
    network, batch, (images, maps) = trained(tiny).eval(), frames(4), references(2)
    window = network.from_references(batch, images, maps).image
    second = Frames(*(getattr(batch, field.name)[2:] for field in dataclasses.fields(Frames)))
    torch.testing.assert_close(
        network(second, network.embed(images[1:], maps[1:])).image, window[2:], atol=2e-5, rtol=0
    )


def test_generator_gives_the_same_image_with_channels_last(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained
) -> None:
    network = trained(tiny).eval()
    plain = network.from_references(frames(2), *references(1)).image
    network.to(memory_format=torch.channels_last)
    batch = frames(2)
    last = Frames(
        *(getattr(batch, f.name).contiguous(memory_format=torch.channels_last) for f in dataclasses.fields(Frames))
    )
    torch.testing.assert_close(network.from_references(last, *references(1)).image, plain, atol=2e-5, rtol=0)


def test_generator_stays_finite_and_near_in_bfloat16(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained
) -> None:
    network = trained(tiny)
    plain = network.from_references(frames(2), *references(2)).image
    with torch.autocast("cpu", torch.bfloat16):
        made = network.from_references(frames(2), *references(2))
    assert made.image.dtype == torch.float32
    assert (made.image - plain).abs().mean() < 0.02
    made.image.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_generator_learns_one_sample(tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames) -> None:
    torch.manual_seed(0)
    network, sample, (images, maps) = Generator(tiny), frames(1), references(1)
    sample = dataclasses.replace(sample, geometric=F.avg_pool2d(sample.projected, 3, 1, padding=1))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        loss = F.l1_loss(network.from_references(sample, images, maps).image, sample.projected)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_network_of_reduced_images_enlarges_its_change_and_warps_the_matched_image_at_full_size(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, trained: MakeTrained
) -> None:
    network, given = trained(dataclasses.replace(tiny, reduction=2)), frames(2)
    images, maps = references(1)
    made, kept, shares, *_ = network.from_tensors(
        *(getattr(given, field.name) for field in dataclasses.fields(Frames)), images, maps
    )
    assert made.shape == given.geometric.shape and shares.shape[-1] == given.geometric.shape[-1] // 2
    halves = [reduced(x.flatten(0, 1), 2)[None] for x in (images, maps)]
    small = Frames(*(reduced(getattr(given, field.name), 2) for field in dataclasses.fields(Frames)))
    plain = Generator(dataclasses.replace(tiny, reduction=1))
    plain.load_state_dict(network.state_dict())
    expected = plain.from_references(small, *halves)
    assert expected.matched is not None
    torch.testing.assert_close(expected.shares, shares)

    def large(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear")

    share, matched = expected.shares[:, 1:], warp(given.matched, large(expected.matched.flow))
    rest = expected.image - small.geometric - share * (expected.matched.image - small.geometric)
    torch.testing.assert_close(made, given.geometric + large(rest) + large(share) * (matched - given.geometric))
    torch.testing.assert_close(made - kept, large(expected.change))


def test_the_matched_image_in_place_of_the_geometric_one_leaves_no_detail_of_that(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames
) -> None:
    network, given = Generator(dataclasses.replace(tiny, reduction=2)), frames(1)
    last = network.composition.layers[0].up
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    last.bias.data.view(5, -1)[4] = 1.0  # the share of the matched image, which an untrained network does not warp
    tensors = [getattr(given, field.name) for field in dataclasses.fields(Frames)]
    torch.testing.assert_close(network.from_tensors(*tensors, *references(1))[0], given.matched, atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_reduced_images_are_means_of_squares(factor: int) -> None:
    images = torch.rand(2, 3, 24, 12)
    torch.testing.assert_close(reduced(images, factor), F.avg_pool2d(images, factor))


def test_spade_maps_of_kernel_one_are_those_of_convolutions() -> None:
    torch.manual_seed(0)
    blocks = [Spade(6, 1), Spade(6, 1)]
    theta = Theta(torch.rand(2, 6, 5), torch.rand(2, 6, 7), torch.rand(2, 6, 7))
    landmarks, *images = torch.rand(3, 2, 6, 4, 5).unbind()
    own = dynamic_convolution(landmarks, torch.cat([theta.gamma, theta.beta], dim=1))
    expected = own + blocks[0].maps(images[0]) + blocks[1].maps(images[1])
    torch.testing.assert_close(spade_maps(landmarks, theta, blocks, images), expected)


@pytest.mark.parametrize(("name", "dims"), [("lite", GeneratorDims()), ("paper", PAPER)])
def test_generator_has_the_sizes_that_its_docstring_states(name: str, dims: GeneratorDims) -> None:
    with torch.device("meta"):
        network = Generator(dims)
        side = dims.side // dims.reduction
        images, maps = torch.zeros(1, 8, 3, side, side), torch.zeros(1, 8, 1, side, side)
        frames = Frames(*(torch.zeros(1, *shape) for shape in dims.frame_shapes))
        with FlopCounterMode(display=False) as of_references:
            embedding = network.embed(images, maps)
        with FlopCounterMode(display=False) as of_a_frame:
            network(frames, embedding)
    figures = (
        sum(p.numel() for p in network.parameters()) / 1e6,
        of_a_frame.get_total_flops() / 1e9,
        of_references.get_total_flops() / 8e9,
    )
    column = 1 if name == "lite" else 2
    rows = [line.split() for line in (generator.__doc__ or "").splitlines()]
    stated = [row[column - 3] for row in rows if row[:1] in (["parameters,"], ["GFLOP"])]
    assert stated == [f"{figure:.2f}" if name == "lite" else f"{figure:.1f}" for figure in figures]
    assert name != "lite" or figures[1] <= 3
