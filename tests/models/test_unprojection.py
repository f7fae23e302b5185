"""The network that fits meshes to crops of faces."""

import dataclasses

import torch

from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

TINY = UnprojectionDims(crop=64, width=8, stages=2, hidden=16, patch=16, patch_width=4)


def network(dims: UnprojectionDims = TINY) -> UnprojectionNetwork:
    torch.manual_seed(0)
    made = UnprojectionNetwork(dims).eval()
    lips, eyes = torch.arange(dims.lips), torch.arange(200, 200 + 2 * dims.eye)
    made.set_regions(lips, eyes[: dims.eye], eyes[dims.eye :])
    return made


def test_unprojection_network_gives_a_mesh_and_a_confidence_for_every_crop() -> None:
    mesh, confidence = network()(torch.rand(3, 3, 64, 64))
    assert mesh.shape == (3, 478, 3) and confidence.shape == (3,)
    assert mesh.isfinite().all() and ((confidence >= 0) & (confidence <= 1)).all()


def test_refinement_starts_from_the_coarse_mesh_and_moves_only_its_own_vertices() -> None:
    made, crops = network(), torch.rand(2, 3, 64, 64)
    coarse, mesh, _ = made.coarse_and_refined(crops)
    torch.testing.assert_close(mesh, coarse)
    torch.nn.init.ones_(made.mouth[1].bias)
    coarse, mesh, _ = made.coarse_and_refined(crops)
    moved = (mesh - coarse).abs().amax((0, 2)) > 0
    assert moved[: TINY.lips].all() and not moved[TINY.lips :].any()


def test_refinement_treats_the_eyes_as_mirror_images() -> None:
    made = network(dataclasses.replace(TINY, lips=4))
    for layer in (made.shape, made.eye[1]):
        torch.nn.init.normal_(layer.weight, std=0.05)
    with torch.no_grad():
        mesh = torch.rand(478, 3)
        mesh[168], mesh[:4] = torch.tensor([0.5, 0.3, 0.0]), torch.tensor([0.5, 0.8, 0.0])
        right, left = made.eye_index
        mesh[left] = torch.stack([1 - mesh[right, 0], mesh[right, 1], mesh[right, 2]], -1)
        made.shape.weight.zero_()
        made.shape.bias.copy_(mesh.flatten())
    crop = torch.rand(1, 3, 64, 64)
    crop = (crop + crop.flip(-1)) / 2
    _, out, _ = made.coarse_and_refined(crop)
    mirrored = torch.stack([1 - out[0, right, 0], out[0, right, 1], out[0, right, 2]], -1)
    assert (out[0, right] - mesh[right]).abs().max() > 1e-3
    torch.testing.assert_close(out[0, left], mirrored, atol=1e-4, rtol=0)


def test_unprojection_network_has_gradients_in_every_layer() -> None:
    made = network().train()
    torch.nn.init.normal_(made.mouth[1].weight)
    torch.nn.init.normal_(made.eye[1].weight)
    coarse, mesh, logit = made.coarse_and_refined(torch.rand(4, 3, 64, 64), jitter=0.05)
    (coarse.sum() + mesh.square().sum() + logit.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
