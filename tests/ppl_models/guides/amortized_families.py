"""The shipped amortized guides of one latent vector under test, and what their densities are, written in numpy.

A new family is one line in ``FAMILIES`` and its density in ``DENSITIES``, which buys every test of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import optimize, special, stats

from ppl_models.guides.amortized import AmortizedGuide
from ppl_models.guides.batch_norm_mean import BatchNormMean
from ppl_models.guides.delta_normal import DeltaNormal
from ppl_models.guides.full_rank_normal import FullRankNormal
from ppl_models.guides.householder_normal import HouseholderNormal
from ppl_models.guides.inverse_autoregressive import InverseAutoregressive
from ppl_models.guides.low_rank_normal import LowRankNormal
from ppl_models.guides.mixture import Mixture
from ppl_models.guides.student_t import StudentT
from ppl_models.guides.zuko_flow import ZukoFlow

Density = Callable[[AmortizedGuide, np.ndarray, np.ndarray], np.ndarray]

# name -> latent_dim, options -> guide of four binary pixels
FAMILIES: dict[str, Callable[..., AmortizedGuide]] = {
    "full rank": lambda L=2, **o: FullRankNormal(4, L, (8,), **o),
    "householder": lambda L=2, **o: HouseholderNormal(4, L, (8,), **{"reflections": 3, **o}),
    "low rank": lambda L=2, **o: LowRankNormal(4, L, (8,), **{"rank": 2, **o}),
    "student": lambda L=2, **o: StudentT(4, L, (8,), **o),
    "student per image": lambda L=2, **o: StudentT(4, L, (8,), per_image=True, **o),
    "mixture": lambda L=2, **o: Mixture(4, L, (8,), **{"components": 3, **o}),
    "delta": lambda L=2, **o: DeltaNormal(4, L, (8,), **o),
    "batch norm": lambda L=2, **o: BatchNormMean(4, L, (8,), **o),
    "flow": lambda L=2, **o: InverseAutoregressive(4, L, (8,), **{"flow_hidden": (6,), "context_dim": 3, **o}),
    "zuko": lambda L=2, **o: ZukoFlow(4, L, (8,), **{"flow_hidden": (6,), "context_dim": 3, **o}),
}

# Splines with weights of 0.6 have peaks that the grid misses.
SPREAD = {"zuko": 0.2}


def lively(name: str, latent_dim: int = 2, **options: object) -> AmortizedGuide:
    """A guide in float64 whose own weights, beside the encoder's, are far from where they start."""
    guide = FAMILIES[name](latent_dim, **options).double().eval()
    for part, parameter in guide.named_parameters():
        if not part.startswith("encoder"):
            torch.nn.init.normal_(parameter, 0, SPREAD.get(name, 0.6))
    return guide


def some_parameters(guide: AmortizedGuide, images: int, seed: int = 0) -> torch.Tensor:
    """Parameters of so many posteriors, far from standard normal: (N, P), float64."""
    noise = torch.Generator().manual_seed(seed)
    return 0.8 * torch.randn(images, guide.num_parameters(), generator=noise, dtype=torch.float64)


def softplus_scale(raw: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(raw + np.log(np.e - 1))) + 1e-5


def full_rank(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    dim = guide.latent_dim
    root, rest = np.diag(softplus_scale(p[dim : 2 * dim])), iter(p[2 * dim :])
    for row in range(dim):
        for column in range(row):
            root[row, column] = next(rest)
    return np.atleast_1d(stats.multivariate_normal(p[:dim], root @ root.T).logpdf(z))


def low_rank(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    dim = guide.latent_dim
    factor = p[2 * dim :].reshape(dim, -1)
    own = softplus_scale(p[dim : 2 * dim]) ** 2 + 1e-5 * (factor**2).sum(-1)
    covariance = factor @ factor.T + np.diag(own)
    return np.atleast_1d(stats.multivariate_normal(p[:dim], covariance).logpdf(z))


def householder(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    dim = guide.latent_dim
    turned = np.eye(dim)
    for vector in p[2 * dim :].reshape(-1, dim):
        v = vector + np.eye(dim)[0]
        turned = turned - 2 * np.outer(v, v @ turned) / (v @ v)
    covariance = turned @ np.diag(softplus_scale(p[dim : 2 * dim]) ** 2) @ turned.T
    return np.atleast_1d(stats.multivariate_normal(p[:dim], covariance).logpdf(z))


def student(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    dim = guide.latent_dim
    raw = p[2 * dim :] if len(p) > 2 * dim else guide.raw_degrees.detach().numpy()
    share = special.expit(raw + np.log((10 - 2.1) / (100 - 10)))
    degrees = 2.1 + (100 - 2.1) * share
    return stats.t(degrees, p[:dim], softplus_scale(p[dim : 2 * dim])).logpdf(z).sum(-1)


def mixture(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    dim, count = guide.latent_dim, len(p) // (1 + 2 * guide.latent_dim)
    loc, raw = p[count:].reshape(2, count, dim)
    terms = [
        weight + stats.norm(m, softplus_scale(r)).logpdf(z).sum(-1)
        for weight, m, r in zip(special.log_softmax(p[:count]), loc, raw, strict=True)
    ]
    return special.logsumexp(terms, axis=0)


def delta(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    def excess(s: float) -> float:
        return -math.log(s) + (s * s - 1) / 2 - guide.rate

    dim, lower, upper = guide.latent_dim, optimize.brentq(excess, 1e-6, 1), optimize.brentq(excess, 1, 100)
    middle = math.log((1 - lower) / (upper - 1))
    scale = lower + (upper - lower) * special.expit(p[dim:] + middle)
    least = np.sqrt(2 * (guide.rate + np.log(scale) - (scale**2 - 1) / 2))
    loc = p[:dim] + np.where(p[:dim] >= 0, 1, -1) * least
    return stats.norm(loc, scale).logpdf(z).sum(-1)


def diagonal(guide: AmortizedGuide, p: np.ndarray, z: np.ndarray) -> np.ndarray:
    return stats.norm(p[: guide.latent_dim], softplus_scale(p[guide.latent_dim :])).logpdf(z).sum(-1)


DENSITIES: dict[str, Density] = {
    "full rank": full_rank,
    "householder": householder,
    "low rank": low_rank,
    "student": student,
    "student per image": student,
    "mixture": mixture,
    "delta": delta,
    "batch norm": diagonal,
}


def flow_forward(guide: AmortizedGuide, p: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The flow's draws from its noise, (M, L) -> (M, L), by the formula of the paper and the nets' masked weights."""
    dim = guide.latent_dim
    z, context = p[:dim] + softplus_scale(p[dim : 2 * dim]) * noise, p[2 * dim :]
    for flow in guide.flows:
        h = np.concatenate([np.broadcast_to(context, (len(z), len(context))), z], -1)
        for number, layer in enumerate(flow.nn.layers):
            h = np.tanh(h) if number else h
            h = h @ (layer.weight * layer.mask).detach().numpy().T + layer.bias.detach().numpy()
        z = np.exp(3 * np.tanh(h[:, dim:] / 3)) * z + h[:, :dim]
    return z


def spline(raw: np.ndarray, e: np.ndarray) -> np.ndarray:
    """The monotonic rational-quadratic spline between -5 and 5 (Durkan et al. 2019, 1906.04032, eq. 4), with zuko's map
    from real numbers to widths, heights and derivatives, which bounds them: (M, 3 K - 1) and (M,) -> (M,)."""
    bins, least = (raw.shape[-1] + 1) // 3, np.log(1e-3)
    sizes = raw[:, : 2 * bins].reshape(-1, 2, bins)
    sizes = special.softmax(sizes / (1 + abs(2 * sizes / least)), -1)
    knots = 10 * np.concatenate([np.zeros((len(raw), 2, 1)), sizes.cumsum(-1)], -1) - 5
    inner = raw[:, 2 * bins :]
    slopes = np.pad(np.exp(inner / (1 + abs(inner / least))), ((0, 0), (1, 1)), constant_values=1)
    bin_of = (e[:, None] > knots[:, 0, 1:-1]).sum(-1)[:, None]
    (x0, y0), (x1, y1) = (np.take_along_axis(knots, (bin_of + i)[:, None], -1)[..., 0].T for i in (0, 1))
    d0, d1 = (np.take_along_axis(slopes, bin_of + i, -1)[:, 0] for i in (0, 1))
    s, xi = (y1 - y0) / (x1 - x0), (np.clip(e, -5, 5) - x0) / (x1 - x0)
    inside = s * xi**2 + d0 * xi * (1 - xi)
    inside = y0 + (y1 - y0) * inside / (s + (d1 + d0 - 2 * s) * xi * (1 - xi))
    return np.where(abs(e) < 5, inside, e)


def zuko_forward(guide: AmortizedGuide, p: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The spline flow's draws from its noise, (M, L) -> (M, L)."""
    dim = guide.latent_dim
    u, context = noise, p[2 * dim :]
    for flow in guide.flows:
        h = np.broadcast_to(context, (len(u), len(context)))
        h = np.concatenate([u, h], -1) if dim > 1 else h
        for number, layer in enumerate(part for part in flow.hyper if hasattr(part, "weight")):
            h = np.tanh(h) if number else h
            weight = layer.weight * getattr(layer, "mask", 1)
            h = h @ weight.detach().numpy().T + layer.bias.detach().numpy()
        raw = h.reshape(len(u), dim, -1)
        u = np.stack([spline(raw[:, latent], u[:, latent]) for latent in range(dim)], -1)
    return p[:dim] + softplus_scale(p[dim : 2 * dim]) * u


# Of the flows, what they do to their noise.
FORWARD: dict[str, Density] = {"flow": flow_forward, "zuko": zuko_forward}


def grid(dim: int, reach: float = 6.0, step: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (M, dim) and weights (M,) of the trapezoidal rule after z = sinh(t): dense in the middle, far in the
    tails."""
    t = np.arange(-reach, reach + step / 2, step)
    nodes, weights = np.sinh(t), np.cosh(t) * step
    if dim == 1:
        return nodes[:, None], weights
    first, second = np.meshgrid(nodes, nodes, indexing="ij")
    return np.stack([first.ravel(), second.ravel()], -1), np.outer(weights, weights).ravel()


def expectation(name: str, guide: AmortizedGuide, p: np.ndarray, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """E[f(z)] under the posterior with parameters p (P,), by quadrature; f: (M, L) -> (M,) or (M, F)."""
    z, weights = grid(guide.latent_dim, 10.0 if "student" in name else 6.0)
    if name in FORWARD:
        density = stats.norm.logpdf(z).sum(-1)
        z = FORWARD[name](guide, p, z)
    else:
        density = DENSITIES[name](guide, p, z)
    values = f(z)
    return np.tensordot(weights * np.exp(density), values, 1)
