"""Rasterizer (§4.1): a z-buffer in PyTorch, on CPU or CUDA, that finds the triangle at each pixel and the place in it.

Vertices are in image space: x right, y down in pixels, z toward the camera, LARGER z is nearer. The projection is
orthographic, so barycentric coordinates are affine in the image. The centre of pixel (row i, column j) is
(j + 0.5, i + 0.5). A triangle whose vertices run counter-clockwise on the screen faces the camera, as in OpenGL.

Coverage is hard: gradients reach vertices and attributes through the barycentric coordinates inside the covered
pixels (as in nvdiffrast without anti-aliasing); moving a silhouette over a pixel has no gradient.

Method: every triangle is cut into pixel rows, every row into the pixels between its two edges, and all of these
compete in one scatter-maximum over (depth, face). Crossings of a shared edge come out bit-identical in both of its
triangles and spans are half-open, so neighbours neither overlap nor leave gaps. The forward pass is deterministic;
of triangles at equal depth (as float32) the lower index wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_DOUBLE_AREA = 1e-8
"""Twice the area, square pixels, up to which a triangle is not drawn, as no pixel centre can be told to lie in it."""
MAX_CANDIDATES = 1 << 22
"""Most pixels that compete at a time; it bounds the memory whatever the size of batch, mesh and image."""
_LOW = (1 << 32) - 1
"""Lower half of a 64-bit key, which holds the rank of the face; the upper half holds the depth."""


@dataclass(frozen=True)
class Fragments:
    """Visible triangle of each pixel, and the place of the pixel in it.

    face: [B, H, W] int64, index of the nearest triangle, -1 where there is none
    barycentric: [B, H, W, 3], weights of the triangle's three vertices, in 0..1 with sum 1; 0 where there is none
    depth: [B, H, W], z toward the camera in the vertices' unit; 0 where there is none
    """

    face: Tensor
    barycentric: Tensor
    depth: Tensor

    @property
    def mask(self) -> Tensor:
        """Whether the mesh is visible at a pixel: [B, H, W] bool."""
        return self.face >= 0

    def __getitem__(self, some: Tensor | list[int] | tuple[slice, slice, slice]) -> Fragments:
        """Return the fragments of some images, or of a part of the images."""
        return Fragments(self.face[some], self.barycentric[some], self.depth[some])


def rasterize(vertices: Tensor, faces: Tensor, height: int, width: int, *, cull_back_faces: bool = False) -> Fragments:
    """Rasterize a batch of meshes of one topology.

    vertices: [B, V, 3] float32 or float64, pixels; gradients flow to them from barycentric and depth
    faces: [F, 3] integer, vertex indices
    height, width: size of the image in pixels
    cull_back_faces: whether triangles that face away from the camera are left out

    Degenerate triangles and those with a vertex that is not finite are not drawn. Raises ValueError for wrong shapes.
    """
    if vertices.dim() != 3 or vertices.shape[-1] != 3 or faces.dim() != 2 or faces.shape[-1] != 3:
        shapes = f"{tuple(vertices.shape)} and {tuple(faces.shape)}"
        raise ValueError(f"vertices and faces have shapes {shapes}, expected (B, V, 3) and (F, 3)")
    batch, n_faces = len(vertices), len(faces)
    triangles = vertices[:, faces.long()].reshape(-1, 3, 3)
    with torch.no_grad():
        drawn = select_drawn(triangles, cull_back_faces)
        keys = _nearest(triangles, drawn, n_faces, batch, height, width)
        face = torch.where(keys == _EMPTY, -1, _LOW - (keys & _LOW)).view(batch, height, width)
        owner, pixel = _covered(face, n_faces)
        column, row = pixel % width, torch.div(pixel, width, rounding_mode="floor") % height
        centre = torch.stack([column, row], dim=1).to(vertices.dtype) + 0.5
    weights, z = _barycentric(triangles, drawn, owner, centre)
    barycentric = weights.new_zeros(face.numel(), 3).index_copy(0, pixel, weights)
    depth = z.new_zeros(face.numel()).index_copy(0, pixel, z)
    return Fragments(face, barycentric.view(*face.shape, 3), depth.view(face.shape))


def interpolate(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Interpolate vertex attributes [B, V, C] at each pixel: [B, C, H, W], 0 where no triangle is visible.

    faces: [F, 3] integer, as given to the rasterizer

    Gradients flow to the attributes and to the barycentric coordinates.
    """
    batch, height, width = fragments.face.shape
    n_faces, channels = len(faces), attributes.shape[-1]
    corners = attributes[:, faces.long()].reshape(batch * n_faces, 3 * channels)
    owner, pixel = _covered(fragments.face, n_faces)
    weights = fragments.barycentric.reshape(-1, 3).index_select(0, pixel)
    first, second, third = corners.index_select(0, owner).tensor_split(3, dim=1)
    values = first * weights[:, :1] + second * weights[:, 1:2] + third * weights[:, 2:]
    image: Tensor = values.new_zeros(batch * height * width, channels).index_copy(0, pixel, values)
    return image.view(batch, height, width, channels).permute(0, 3, 1, 2)


def enumerate_items(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Lay lists of ``counts`` [N] items end to end; return the owner of each item and its place in the owner's list."""
    owner = torch.repeat_interleave(counts)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(owner), device=counts.device) - starts.index_select(0, owner)
    return owner, place


_EMPTY = torch.iinfo(torch.int64).min
"""Key of a pixel without a triangle."""


def _covered(face: Tensor, n_faces: int) -> tuple[Tensor, Tensor]:
    """Return triangle (index into [B * F]) and pixel (index into [B * H * W]) of the N covered pixels of a face map."""
    flat = face.reshape(-1)
    pixel = torch.nonzero(flat >= 0)[:, 0]
    item = torch.div(pixel, face[0].numel(), rounding_mode="floor")
    return flat.index_select(0, pixel) + n_faces * item, pixel


def select_drawn(triangles: Tensor, cull_back_faces: bool) -> Tensor:
    """Return [B * F] bool: whether each of the triangles [B * F, 3, 3] is drawn."""
    edges = triangles[:, 1:, :2] - triangles[:, :1, :2]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    # With y down, triangles that run counter-clockwise on the screen have a negative area.
    large = -area > MIN_DOUBLE_AREA if cull_back_faces else area.abs() > MIN_DOUBLE_AREA
    return large & triangles.isfinite().flatten(1).all(dim=1)


def _nearest(triangles: Tensor, drawn: Tensor, n_faces: int, batch: int, height: int, width: int) -> Tensor:
    """Return the greatest key (depth, then lower face) at each pixel, or ``_EMPTY``: [B * H * W] int64."""
    keys = torch.full((batch * height * width,), _EMPTY, device=triangles.device)
    owner, start, count, z, slope = _spans(triangles, drawn, height, width)
    start = start + (owner // n_faces) * (height * width)
    rank = _LOW - owner % n_faces
    rows = max(1, MAX_CANDIDATES // width)
    for first in range(0, len(count), rows):
        span, place = enumerate_items(count[first : first + rows])
        span = span + first
        seen = z.index_select(0, span) + slope.index_select(0, span) * place
        pixel = start.index_select(0, span) + place
        key = _ordered(seen) * (_LOW + 1) + rank.index_select(0, span)
        keys.scatter_reduce_(0, pixel, key, "amax")
    return keys


def _spans(triangles: Tensor, drawn: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Cut triangles [B * F, 3, 3] into spans of pixels.

    Returns five tensors [R] with one entry per pixel row of a triangle: triangle, first pixel (index into its image),
    number of pixels (may be 0), depth at the first pixel, change of depth per pixel.
    """
    by_y = triangles[:, :, 1].argsort(dim=1)
    ordered = triangles.gather(1, by_y[:, :, None].expand(-1, -1, 3))
    first = _first_centre(ordered[:, 0, 1], height)
    owner, place = enumerate_items(torch.where(drawn, _first_centre(ordered[:, 2, 1], height) - first, 0))
    row = first.index_select(0, owner) + place
    y = row.to(triangles.dtype)[:, None] + 0.5
    top, middle, bottom = ordered.index_select(0, owner).unbind(1)
    upper = y < middle[:, 1:2]
    long = _crossing(top, bottom, y)
    short = _crossing(torch.where(upper, top, middle), torch.where(upper, middle, bottom), y)
    swap = long[:, :1] > short[:, :1]
    left, right = torch.where(swap, short, long), torch.where(swap, long, short)
    column = _first_centre(left[:, 0], width)
    count = _first_centre(right[:, 0], width) - column
    slope = (right[:, 1] - left[:, 1]) / (right[:, 0] - left[:, 0])
    z = left[:, 1] + (column + 0.5 - left[:, 0]) * slope
    return owner, row * width + column, count, z, slope


def _first_centre(position: Tensor, size: int) -> Tensor:
    """Return the index of the first pixel whose centre is at or after a position, clamped to 0..size."""
    return (position - 0.5).ceil().clamp(0, size).long()


def _crossing(start: Tensor, end: Tensor, y: Tensor) -> Tensor:
    """Return x and z, [R, 2], at which edges from start to end [R, 3], start above end, cross the lines y [R, 1]."""
    along = (y - start[:, 1:2]) / (end[:, 1:2] - start[:, 1:2])
    # A fused operation is avoided, because its rounding may depend on the place of an edge in the list.
    return start[:, ::2] + along * (end[:, ::2] - start[:, ::2])


def _ordered(depth: Tensor) -> Tensor:
    """Return int64 in the same order as float depths: their bits, with those of negative numbers in reverse."""
    bits = (depth.float() + 0.0).view(torch.int32)  # + 0.0 turns -0.0 into 0.0
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()


def _barycentric(triangles: Tensor, drawn: Tensor, owner: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights [N, 3] and depth [N] at pixel centres [N, 2] in triangles ``owner`` [N]; differentiable."""
    # Triangles that are not drawn are replaced by a valid one, so that their gradient is 0 and never NaN.
    sound = triangles.new_tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    origin, second, third = torch.where(drawn[:, None, None], triangles, sound).unbind(1)
    one, two = second - origin, third - origin
    area = (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])[:, None]
    to_second = torch.stack([two[:, 1], -two[:, 0]], dim=1) / area
    to_third = torch.stack([-one[:, 1], one[:, 0]], dim=1) / area
    table = torch.cat([origin, to_second, to_third, one[:, 2:], two[:, 2:]], dim=1)
    origin_xy, origin_z, to_second, to_third, rise = table.index_select(0, owner).tensor_split((2, 3, 5, 7), dim=1)
    offset = centre - origin_xy
    second = offset[:, 0] * to_second[:, 0] + offset[:, 1] * to_second[:, 1]
    third = offset[:, 0] * to_third[:, 0] + offset[:, 1] * to_third[:, 1]
    # A centre exactly on an edge may round to just outside, the more so in very thin triangles.
    weights = torch.stack([1 - second - third, second, third], dim=1).clamp(min=0)
    weights = weights / (weights[:, :1] + weights[:, 1:2] + weights[:, 2:])
    return weights, origin_z[:, 0] + weights[:, 1] * rise[:, 0] + weights[:, 2] * rise[:, 1]
