"""The rasterizer agrees with a slow readable one and with finite differences, and keeps what holds for any mesh."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from thcli.errors import UsageError
from thcli.render.rasterize import MAX_CANDIDATES, Fragments, enumerate_items, interpolate, rasterize
from thcli.render.rasterizers import get_rasterizer

HEIGHT, WIDTH = 14, 19


def slow_fragments(vertices: Tensor, faces: Tensor, height: int, width: int) -> Fragments:
    """Compare every pixel with every triangle, and keep the nearest that its centre lies in."""
    batch = len(vertices)
    face = torch.full((batch, height, width), -1)
    barycentric = torch.zeros(batch, height, width, 3, dtype=torch.float64)
    depth = torch.zeros(batch, height, width, dtype=torch.float64)
    for item, mesh in enumerate(vertices.double().tolist()):
        for row in range(height):
            for column in range(width):
                for index, (i, j, k) in enumerate(faces.tolist()):
                    weights = weights_at(column + 0.5, row + 0.5, mesh[i], mesh[j], mesh[k])
                    if weights is None or min(weights) < 0:
                        continue
                    z = weights[0] * mesh[i][2] + weights[1] * mesh[j][2] + weights[2] * mesh[k][2]
                    if face[item, row, column] < 0 or z > depth[item, row, column]:
                        face[item, row, column] = index
                        barycentric[item, row, column] = torch.tensor(weights, dtype=torch.float64)
                        depth[item, row, column] = z
    return Fragments(face, barycentric, depth)


def weights_at(x: float, y: float, a: list[float], b: list[float], c: list[float]) -> list[float] | None:
    """Return barycentric coordinates as ratios of areas; None for a triangle without an area."""

    def area(p: list[float], q: list[float], r: list[float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    whole = area(a, b, c)
    if whole == 0:
        return None
    centre = [x, y]
    return [area(centre, b, c) / whole, area(centre, c, a) / whole, area(centre, a, b) / whole]


def random_mesh(seed: int, batch: int = 2, n: int = 12, n_faces: int = 14) -> tuple[Tensor, Tensor]:
    """Return vertices [B, n, 3] float64 and triangles that overlap, cross and leave the image."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([WIDTH, HEIGHT, 10], dtype=torch.float64)
    vertices = torch.rand(batch, n, 3, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    triples = torch.combinations(torch.arange(n), 3)
    faces = triples[torch.randperm(len(triples), generator=generator)[:n_faces]]
    return vertices * size, faces


def grid(columns: int, rows: int, step: float, start: float) -> tuple[Tensor, Tensor]:
    """Return a flat sheet [1, V, 3] of squares, each cut into two triangles that face the camera."""
    y, x = torch.meshgrid(torch.arange(rows + 1.0), torch.arange(columns + 1.0), indexing="ij")
    vertices = torch.stack([x * step + start, y * step + start, 0 * x], dim=-1).reshape(1, -1, 3)
    index = torch.arange(vertices.shape[1]).view(rows + 1, columns + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return vertices, torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rasterize_agrees_with_a_slow_rasterizer(seed: int, dtype: torch.dtype) -> None:
    vertices, faces = random_mesh(seed)
    found = rasterize(vertices.to(dtype), faces, HEIGHT, WIDTH)
    expected = slow_fragments(vertices, faces, HEIGHT, WIDTH)
    assert torch.equal(found.face, expected.face)
    assert (expected.face >= 0).double().mean() > 0.3
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    assert torch.allclose(found.barycentric.double(), expected.barycentric, atol=tolerance)
    assert torch.allclose(found.depth.double(), expected.depth, atol=tolerance)
    assert found.barycentric.dtype == found.depth.dtype == dtype


def test_rasterize_orders_negative_depths_too() -> None:
    vertices, faces = random_mesh(5)
    found = rasterize(vertices - torch.tensor([0.0, 0.0, 5.0]), faces, HEIGHT, WIDTH)
    assert torch.equal(found.face, rasterize(vertices, faces, HEIGHT, WIDTH).face)


def test_rasterize_shows_larger_z_and_at_equal_depth_the_lower_index() -> None:
    corners = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 40.0]])
    for depths, winner in (((1.0, 2.0), 1), ((2.0, 1.0), 0), ((-2.0, -1.0), 1), ((3.0, 3.0), 0), ((0.0, -0.0), 0)):
        layers = [torch.cat([corners, torch.full((3, 1), depth)], dim=1) for depth in depths]
        found = rasterize(torch.cat(layers)[None], torch.arange(6).view(2, 3), 8, 8)
        assert (found.face == winner).all()
        assert torch.allclose(found.depth, torch.tensor(depths[winner]))


@pytest.mark.parametrize("step, start", [(3.0, 0.5), (2.5, 0.0), (2.0, 0.25), (1 / 3, 0.5), (7.3, -3.1)])
def test_rasterize_leaves_neither_overlaps_nor_gaps_between_neighbours(step: float, start: float) -> None:
    """This holds where vertices and edges lie exactly on pixel centres, too."""
    vertices, faces = grid(7, 7, step, start)
    covers = torch.zeros(HEIGHT, WIDTH)
    for face in faces:
        covers += rasterize(vertices, face[None], HEIGHT, WIDTH).mask[0]
    end = start + 7 * step
    x, y = torch.arange(WIDTH) + 0.5, torch.arange(HEIGHT) + 0.5
    expected = ((y > start + 1e-4) & (y < end - 1e-4))[:, None] & ((x > start + 1e-4) & (x < end - 1e-4))
    assert covers.max() <= 1
    assert (covers[expected] == 1).all()


@pytest.mark.parametrize("seed", range(3))
def test_rasterize_gradients_agree_with_finite_differences(seed: int) -> None:
    vertices, faces = random_mesh(seed, n=7, n_faces=5)
    attributes = torch.rand(2, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def draw(vertices: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor]:
        fragments = rasterize(vertices, faces, 6, 7)
        return interpolate(fragments, faces, attributes), fragments.depth

    scaled = vertices * torch.tensor([7 / WIDTH, 6 / HEIGHT, 1.0])
    assert rasterize(scaled, faces, 6, 7).mask.any()
    assert torch.autograd.gradcheck(draw, (scaled.requires_grad_(), attributes.requires_grad_()))


def test_interpolate_of_positions_gives_pixel_centres_and_depth() -> None:
    vertices, faces = random_mesh(1)
    fragments = rasterize(vertices, faces, HEIGHT, WIDTH)
    x, y, z = interpolate(fragments, faces, vertices).unbind(1)
    mask = fragments.mask
    columns, rows = torch.arange(WIDTH).double() + 0.5, torch.arange(HEIGHT).double() + 0.5
    assert torch.allclose(x[mask], columns.expand_as(x)[mask])
    assert torch.allclose(y[mask], rows[:, None].expand_as(y)[mask])
    assert torch.allclose(z, fragments.depth)
    assert (x[~mask] == 0).all()


def test_rasterize_of_a_batch_equals_rasterize_of_each_mesh() -> None:
    vertices, faces = random_mesh(2, batch=3)
    together = rasterize(vertices, faces, HEIGHT, WIDTH)
    for index in range(3):
        alone = rasterize(vertices[index : index + 1], faces, HEIGHT, WIDTH)
        assert torch.equal(together.face[index], alone.face[0])
        assert torch.equal(together.barycentric[index], alone.barycentric[0])


def test_rasterize_in_several_chunks_equals_the_nearest_of_each_triangle_alone() -> None:
    """The image is so wide that its candidates exceed what competes at a time."""
    height, width = 96, 8192
    vertices, faces = random_mesh(3, batch=1, n_faces=40)
    vertices = vertices * torch.tensor([width / WIDTH, height / HEIGHT, 1.0])
    whole = rasterize(vertices, faces, height, width)
    nearest, depth = torch.full_like(whole.face, -1), torch.full_like(whole.depth, -torch.inf)
    rows = 0
    for index, face in enumerate(faces):
        alone = rasterize(vertices, face[None], height, width)
        rows += int(alone.mask.any(-1).sum())
        nearer = alone.mask & (alone.depth > depth)
        nearest[nearer], depth[nearer] = index, alone.depth[nearer]
    assert rows * width > 2 * MAX_CANDIDATES
    assert torch.equal(whole.mask, nearest >= 0)
    # Where two triangles cross, depths within a rounding of each other may go to either.
    assert (whole.face != nearest).float().mean() < 1e-4
    assert torch.allclose(whole.depth[whole.mask], depth[whole.mask], atol=1e-4)


def test_rasterize_leaves_out_degenerate_and_broken_triangles_with_finite_gradients() -> None:
    good = [[1.0, 1.0, 0.0], [9.0, 1.0, 0.0], [1.0, 9.0, 0.0]]
    line = [[1.0, 1.0, 9.0], [5.0, 5.0, 9.0], [9.0, 9.0, 9.0]]
    bad = [[float("nan"), 1.0, 9.0], [float("inf"), 2.0, 9.0], [3.0, 3.0, float("-inf")]]
    vertices = torch.tensor([good + line + bad]).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 6], [0, 7, 2], [0, 1, 8], [0, 0, 1]])
    fragments = rasterize(vertices, faces, 10, 10)
    assert set(fragments.face.unique().tolist()) == {-1, 0}
    (fragments.depth.sum() + fragments.barycentric[..., 1].sum()).backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all()


def test_rasterize_keeps_barycentric_coordinates_of_thin_triangles_in_range() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(400, 1, 3, generator=generator) * 60
    along = torch.rand(400, 1, 3, generator=generator) * 60 - 30
    shares = torch.tensor([0.0, 0.5, 1.0])[:, None]
    vertices = start + along * shares + torch.rand(400, 3, 3, generator=generator) * 0.05
    fragments = rasterize(vertices.view(1, -1, 3), torch.arange(1200).view(400, 3), 60, 60)
    assert fragments.mask.any()
    assert fragments.barycentric.min() >= 0 and fragments.barycentric.max() <= 1
    assert torch.allclose(fragments.barycentric.sum(-1), fragments.mask.float())


def test_rasterize_with_culling_leaves_out_triangles_that_face_away() -> None:
    vertices, faces = grid(3, 3, 4.0, 0.0)
    front = rasterize(vertices, faces, HEIGHT, WIDTH, cull_back_faces=True)
    assert torch.equal(front.face, rasterize(vertices, faces, HEIGHT, WIDTH).face)
    assert front.mask.any()
    assert not rasterize(vertices, faces.flip(1), HEIGHT, WIDTH, cull_back_faces=True).mask.any()
    assert rasterize(vertices, faces.flip(1), HEIGHT, WIDTH).mask.any()


@pytest.mark.parametrize("shift", [1e3, -1e3, 1e30])
def test_rasterize_draws_nothing_for_meshes_outside_the_image(shift: float) -> None:
    vertices, faces = random_mesh(4)
    fragments = rasterize(vertices.float() + torch.tensor([shift, 0.0, 0.0]), faces, HEIGHT, WIDTH)
    assert not fragments.mask.any()
    assert interpolate(fragments, faces, vertices.float()).abs().sum() == 0


def test_rasterize_without_triangles_gives_empty_fragments() -> None:
    fragments = rasterize(torch.rand(2, 5, 3), torch.zeros(0, 3, dtype=torch.int64), HEIGHT, WIDTH)
    assert fragments.face.shape == (2, HEIGHT, WIDTH)
    assert not fragments.mask.any()


def test_rasterize_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        rasterize(torch.rand(5, 3), torch.zeros(1, 3, dtype=torch.int64), 4, 4)


def test_enumerate_items_gives_owner_and_place_of_each_item() -> None:
    owner, place = enumerate_items(torch.tensor([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert place.tolist() == [0, 1, 0, 1, 2]


def test_get_rasterizer_returns_torch_and_names_the_known_ones_for_others() -> None:
    assert get_rasterizer("torch") is rasterize
    with pytest.raises(UsageError, match=r"^rasterizer 'opengl': unknown; expected 'torch' or 'pytorch3d'$"):
        get_rasterizer("opengl")


def test_get_rasterizer_asks_to_install_a_missing_pytorch3d(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "thcli.render.pytorch3d_backend", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(
        UsageError, match=r"^rasterizer 'pytorch3d': cannot be imported \(.*\); install pytorch3d, or choose 'torch'$"
    ):
        get_rasterizer("pytorch3d")


@pytest.mark.skipif(find_spec("pytorch3d") is None, reason="pytorch3d is not installed")
@pytest.mark.parametrize("cull_back_faces", [False, True])
def test_rasterize_pytorch3d_gives_the_same_fragments(cull_back_faces: bool) -> None:
    vertices, faces = random_mesh(6)
    expected = rasterize(vertices.float(), faces, HEIGHT, WIDTH, cull_back_faces=cull_back_faces)
    found = get_rasterizer("pytorch3d")(vertices.float(), faces, HEIGHT, WIDTH, cull_back_faces=cull_back_faces)
    assert torch.equal(found.face, expected.face)
    assert torch.allclose(found.barycentric, expected.barycentric, atol=1e-3)
    assert torch.allclose(found.depth, expected.depth, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rasterize_on_cuda_gives_what_the_cpu_gives() -> None:
    vertices, faces = random_mesh(7)
    expected = rasterize(vertices, faces, HEIGHT, WIDTH)
    found = rasterize(vertices.cuda(), faces.cuda(), HEIGHT, WIDTH)
    assert torch.equal(found.face.cpu(), expected.face)
    assert torch.allclose(found.barycentric.cpu(), expected.barycentric)
    image = interpolate(found, faces.cuda(), vertices.cuda())
    assert torch.allclose(image.cpu(), interpolate(expected, faces, vertices))
