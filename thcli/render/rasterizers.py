"""Rasterizers by the names that ``--rasterizer`` of ``thgen evaluate --suite`` takes."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from thcli.errors import UsageError
from thcli.render.rasterize import Fragments, rasterize


class Rasterizer(Protocol):
    """A function that rasterizes a batch of meshes; ``render.rasterize.rasterize`` documents its arguments."""

    def __call__(
        self, vertices: Tensor, faces: Tensor, height: int, width: int, *, cull_back_faces: bool = False
    ) -> Fragments: ...


def get_rasterizer(name: str) -> Rasterizer:
    """Return the rasterizer called ``torch`` (``render/rasterize.py``) or ``pytorch3d``.

    Raises UsageError for another name, or where pytorch3d is not installed.
    """
    if name == "torch":
        return rasterize
    if name != "pytorch3d":
        raise UsageError(f"rasterizer {name!r}: unknown; expected 'torch' or 'pytorch3d'")
    try:
        from thcli.render.pytorch3d_backend import rasterize_pytorch3d
    except ImportError as error:
        message = f"rasterizer 'pytorch3d': cannot be imported ({error}); install pytorch3d, or choose 'torch'"
        raise UsageError(message) from error
    return rasterize_pytorch3d
