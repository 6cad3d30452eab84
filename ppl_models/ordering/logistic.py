"""Logistic conditionals: how well logistic regressions predict a binary pixel from others.

Pixel i given the pixels S has log-odds b + sum_{j in S} w_j (x_j - 1/2). The weights minimise

    sum over images of -log p(x_i | x_S)  +  (l2 / 2) (b^2 + sum_j w_j^2),

a ridge, or normal prior of variance 1 / l2, on the bias too: constant pixels keep finite weights, and no cost changes
when the two values of a pixel change their names. What is scored is the first term alone, without the penalty, as the
mean over the images: nats per image. All in float64, by Newton's method with halved steps, which converges from
anywhere since the objective is strictly convex.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor

from ..errors import InvalidInput
from .base import checked_images

# Numbers held at a time by one intermediate tensor: 32 MiB in float64.
CHUNK = 2**22
MIN_L2 = 1e-3
MAX_STEPS = 200


def checked_binary(x: Tensor, x_score: Tensor | None, l2: float, who: str) -> tuple[Tensor, Tensor]:
    """The images to fit and to score on.

    Raises:
        InvalidInput: unless both are binary images of the same D and l2 is no less than 0.001.
    """
    if isinstance(x, Tensor) and x.is_floating_point() and x.numel() and x.max() > 1:
        problem = f"{who} fits logistic regressions, to binary images only"
        raise InvalidInput("x", float(x.max()), problem, "binarize the images, or use by_mutual_information(x, levels)")
    x = checked_images(x)
    scored = x if x_score is None else checked_images(x_score, argument="x_score")
    if scored.shape[1] != x.shape[1]:
        problem = f"the images fitted to have {x.shape[1]} pixels"
        raise InvalidInput("x_score", tuple(scored.shape), problem, "give images of one data set")
    if not MIN_L2 <= l2 < float("inf"):
        problem = "is no strength of a ridge that keeps the weights finite"
        raise InvalidInput("l2", l2, problem, f"give a number from {MIN_L2} on, for example 1.0")
    return x, scored


def fit_logistic(design: Tensor, total: Tensor, ones: Tensor, l2: float, start: Tensor | None = None) -> Tensor:
    """The weights of B ridge logistic regressions on the same rows: (B, K).

    Args:
        design: the features of R rows (R, K), float64.
        total, ones: how many images are of a row, and how many of those have a one (B, R).
        l2: strength of the ridge, on sums over images.
        start: weights to start from (B, K); zeros unless given.
    """
    weights = torch.zeros(len(ones), design.shape[1], dtype=design.dtype) if start is None else start
    for _ in range(MAX_STEPS):
        p = torch.sigmoid(weights @ design.T)
        gradient = (total * p - ones) @ design + l2 * weights
        hessian = _hessian(design, total * p * (1 - p), l2)
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(hessian))[..., 0]
        decrement = (gradient * step).sum(-1)  # twice what the objective is above its minimum, to second order
        weights = _descend(design, total, ones, l2, weights, step, decrement)
        if decrement.max() < 1e-11:  # quadratic convergence: after this step about its square is left
            break
    return weights


def _hessian(design: Tensor, curvature: Tensor, l2: float) -> Tensor:
    """(R, K), (B, R) -> (B, K, K), over as many rows at a time as memory allows."""
    size = design.shape[1]
    hessian = (l2 * torch.eye(size, dtype=design.dtype)).repeat(len(curvature), 1, 1)
    rows = max(1, CHUNK // (len(curvature) * size))
    for features, weight in zip(design.split(rows), curvature.split(rows, 1), strict=True):
        hessian += (features * weight[..., None]).mT @ features
    return hessian


def _descend(
    design: Tensor, total: Tensor, ones: Tensor, l2: float, weights: Tensor, step: Tensor, slope: Tensor
) -> Tensor:
    """``weights - step``, the step of each regression halved until its objective goes down."""

    def objective(weights: Tensor) -> Tensor:
        return summed_nll(design, total, ones, weights) + l2 / 2 * weights.square().sum(-1)

    before, length = objective(weights), torch.ones(len(weights), 1, dtype=design.dtype)
    for _ in range(40):
        after = objective(weights - length * step)
        up = after > before - 1e-4 * length[:, 0] * slope + 1e-12 * before.abs()
        if not up.any():
            break
        length[up] /= 2
    return weights - length * step


def summed_nll(design: Tensor, total: Tensor, ones: Tensor, weights: Tensor) -> Tensor:
    """-log p summed over images, (B,): the log-odds z of a row cost log(1 + e^z) per image and gain z per one."""
    log_odds = weights @ design.T
    return (total * torch.logaddexp(log_odds, torch.zeros_like(log_odds)) - ones * log_odds).sum(-1)


def nll_of_subsets(x: Tensor, x_score: Tensor, l2: float) -> Tensor:
    """The mean -log p(x_i | x_S) of every pixel i after every set S of others: (2^D, D) nats per image.

    Row ``mask`` is the set of the pixels whose bit is set in it; infinite for pixels in the set. All D 2^(D-1)
    regressions are fitted on x, one size of S at a time: those of a size share the 2^|S| rows that there can be, and
    differ in how often each occurs. Memory O(3^D D) at most.
    """
    data_dim = x.shape[1]
    fitted, scored = _table(x), _table(x_score)
    nll = torch.full((2**data_dim, data_dim), torch.inf, dtype=torch.float64)
    for size in range(data_dim, -1, -1):
        sets = list(combinations(range(data_dim), size))
        if size < data_dim:
            fitted, scored = ({s: _without_a_pixel(table, s) for s in sets} for table in (fitted, scored))
            pairs = [(s, i) for s in sets for i in range(data_dim) if i not in s]
            design = cells(size)
            weights = fit_logistic(design, *_counts(fitted, pairs), l2)
            values = summed_nll(design, *_counts(scored, pairs), weights) / len(x_score)
            masks = [sum(1 << pixel for pixel in s) for s, _ in pairs]
            nll[masks, [i for _, i in pairs]] = values
    return nll


Tables = dict[tuple[int, ...], Tensor]


def _table(x: Tensor) -> Tables:
    """Under the set of all D pixels: how many images fall in each of the 2^D cells, and how many of those have a one at
    each pixel, of shape (2, ..., 2, 1 + D)."""
    data_dim = x.shape[1]
    code = (x.long() * 2 ** torch.arange(data_dim - 1, -1, -1)).sum(-1)
    counts = [torch.bincount(code, weights, 2**data_dim).double() for weights in (None, *x.double().T)]
    return {tuple(range(data_dim)): torch.stack(counts, -1).reshape(*[2] * data_dim, 1 + data_dim)}


def _without_a_pixel(tables: Tables, pixels: tuple[int, ...]) -> Tensor:
    """The table of a set, from that of the same with its lowest missing pixel."""
    missing = next(pixel for pixel in range(len(pixels) + 1) if pixel not in pixels)
    return tables[tuple(sorted((*pixels, missing)))].sum(missing)


def _counts(tables: Tables, pairs: list[tuple[tuple[int, ...], int]]) -> tuple[Tensor, Tensor]:
    """Images and ones per cell, (B, 2^|S|) both, for B pairs of a set S and a pixel."""
    flat = {pixels: table.reshape(-1, table.shape[-1]) for pixels, table in tables.items()}
    total = torch.stack([flat[pixels][:, 0] for pixels, _ in pairs])
    return total, torch.stack([flat[pixels][:, 1 + pixel] for pixels, pixel in pairs])


def cells(size: int) -> Tensor:
    """The features of the 2^size rows of so many binary pixels, a constant first: (2^size, 1 + size)."""
    bits = (torch.arange(2**size)[:, None] >> torch.arange(size - 1, -1, -1)) & 1
    return features(bits.double())


def features(x: Tensor) -> Tensor:
    """1 and x - 1/2: (N, D) -> (N, 1 + D), float64."""
    return torch.cat([torch.ones(len(x), 1, dtype=torch.float64), x.double() - 0.5], 1)


@dataclass
class Conditionals:
    """Conditionals of given images, each fitted when it is first asked for.

    A regression of k pixels on N distinct training images costs O(N k^2) per Newton step and O(N k) memory; what is
    kept is one number per conditional asked for, and the last weights of each pixel, from where its next regression
    starts.

    Args:
        x: distinct rows are fitted with their counts (N, D).
        x_score: images to score on (M, D).
        l2: strength of the ridge.
    """

    x: Tensor
    x_score: Tensor
    l2: float
    known: dict[tuple[int, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, self.count = self.x.unique(dim=0, return_counts=True)
        scored, self.count_score = self.x_score.unique(dim=0, return_counts=True)
        self.rows, self.scored = features(rows), features(scored)
        self.weights = torch.zeros(self.x.shape[1], self.rows.shape[1], dtype=torch.float64)

    def nll(self, pixel: int, earlier: int) -> float:
        """The mean -log p(x_i | x_S) on the images to score, in nats; the bits of ``earlier`` are the set S."""
        if (pixel, earlier) not in self.known:
            self.known[pixel, earlier] = self._fit(pixel, earlier)
        return self.known[pixel, earlier]

    def _fit(self, pixel: int, earlier: int) -> float:
        columns = [0, *(1 + i for i in range(self.x.shape[1]) if earlier >> i & 1)]
        count, count_score = self.count[None].double(), self.count_score[None].double()
        ones = count * (self.rows[:, 1 + pixel] + 0.5)
        ones_score = count_score * (self.scored[:, 1 + pixel] + 0.5)
        start = self.weights[pixel, columns][None]
        weights = fit_logistic(self.rows[:, columns], count, ones, self.l2, start)
        self.weights[pixel, columns] = weights[0]
        return float(summed_nll(self.scored[:, columns], count_score, ones_score, weights)) / len(self.x_score)
