"""Fréchet distance between two sets of features, treated as Gaussians (Heusel et al. 2017, eq. 6).

    d² = |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)

With C = AᵀA, tr (C1 C2)^½ is the sum of the singular values of A1 A2ᵀ. This needs no square root of a matrix, which is
ill-conditioned for sets smaller than their dimension, and no more memory than the features themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.metric import Figure, not_computed
from thcli.records import Float


def distance(made: Float, true: Float) -> Figure:
    """Compute the Fréchet distance of predicted features [N, D] from reference features [M, D]; its count is N."""
    if min(len(made), len(true)) < 2:
        return not_computed(f"{len(made)} and {len(true)} frames; a distribution takes at least two of each")
    first, second = (np.asarray(features, np.float64) for features in (made, true))
    gap = float(((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum())
    roots = [_root(features) for features in (first, second)]
    shared = float(np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum())
    spread = sum(float((root**2).sum()) for root in roots)
    return Figure(gap + max(0.0, spread - 2 * shared), len(made))


def _root(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return A [min(N, D), D] for which AᵀA is the unbiased covariance of features [N, D]."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r"))
