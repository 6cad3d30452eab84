"""Ranks of the truth among a guide's draws, on images simulated from the program (Talts et al. 2018, 1804.06788)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from pyro import poutine
from torch import Tensor, nn
from tqdm import tqdm

from ppl_models.errors import InvalidInput
from ppl_models.guides import GuideProgram
from ppl_models.program import GenerativeProgram

from ..estimators.base import MAX_ELEMENTS, evaluation_mode, rows_within
from ..estimators.support import check_support
from ..randomness import keyed_noise
from ..simulate import Simulated, simulate
from ..weights import at_image, sum_of_sites, traces

LEAST_SIMULATIONS = 1000
LEAST_DRAWS = 19
LOG_JOINT = "log p(x, z)"
# Values of log p(x, z) that differ by less, relatively, differ by rounding: such ties are broken by chance.
TIE = 1e-5

Latents = Mapping[str, Tensor]


@dataclass(frozen=True)
class Ranks:
    """Where the truth falls among the guide's draws.

    Attributes:
        quantities: Q names: each component of each latent, as ``z[3]``, then ``log p(x, z)``.
        ranks: (Q, S) whole numbers 0..L: how many of the L draws lie below the truth; uniform if q(z | x) = p(z | x).
        draws: L.
        log_weights: (S, L), log p(x, z_k) - log q(z_k | x) of the guide's draws.
        log_weight_of_truth: (S,), the same of the z that made x; NaN where the guide cannot score it.
        x: the simulated images (S, D).
    """

    quantities: tuple[str, ...]
    ranks: np.ndarray
    draws: int
    log_weights: Tensor
    log_weight_of_truth: Tensor
    x: Tensor


def rank_truths(
    program: GenerativeProgram,
    guide: GuideProgram,
    *,
    simulations: int = LEAST_SIMULATIONS,
    draws: int = 199,
    seed: int = 0,
    progress: bool = False,
) -> Ranks:
    """Simulate (z, x) from the program, draw from q(z | x), and rank z and log p(x, z) among the draws.

    If q(z | x) = p(z | x) for all x, then z and the draws are exchangeable given x, and the rank of any function of
    (x, z) is uniform on 0..L. Ranks of z alone cannot tell the posterior from the prior, whose draws are exchangeable
    with z too, if not given x; the rank of log p(x, z) does (Modrák et al. 2023, 2211.02383).

    Args:
        program, guide: the pair, bound to each other.
        simulations: S, at least 1000.
        draws: L, at least 19; L = 199 makes the 50%, 80% and 95% intervals exact.
        seed: of the simulation and, with the number of the simulation, of the guide's noise.

    Raises:
        InvalidInput: for a program without latents, a guide that has no density at some of them, or too few simulations
            or draws.
        NonFiniteError: if a log-density is NaN or +infinity.
    """
    check_pair(program, guide)
    check_counts(simulations, draws)
    simulated = simulate(program, simulations, seed)
    rows, chunk = [], rows_within(MAX_ELEMENTS, program.data_dim, program, guide)
    with evaluation_mode(program, guide):
        log_p = torch.cat([log_density(program, *batch) for batch in _batches(simulated, chunk)])
        for i, (x, truth) in enumerate(tqdm(_batches(simulated, 1), "calibration", simulations, disable=not progress)):
            located = at_image("calibration, simulated images", program, guide, x, i)
            with located, keyed_noise(seed, "calibration", i, device=x.device):
                rows.append(_one(program, guide, x, truth, log_p[i], draws, chunk))
    names = [*_names({name: z[0] for name, z in simulated.latents.items()}, program.latents), LOG_JOINT]
    ranks, log_weights, of_truth = (torch.stack(column) for column in zip(*rows, strict=True))
    return Ranks(tuple(names), ranks.T.cpu().numpy(), draws, log_weights, of_truth, simulated.x)


def check_pair(program: nn.Module, guide: nn.Module | None) -> None:
    """Raise ``InvalidInput`` unless there are latents, and a guide with a density wherever they may lie."""
    if guide is None or not program.latents:
        problem = f"{type(program).__name__} has no latents, and so no posterior to calibrate"
        raise InvalidInput("--sbc", type(program).__name__, problem, "leave it out")
    check_support(program, guide, "--sbc", "give it the support of the prior, or leave --sbc out")


def check_counts(simulations: int, draws: int) -> None:
    """Raise ``InvalidInput`` for fewer simulations or draws than say anything."""
    if simulations < LEAST_SIMULATIONS:
        problem = "from so few simulations the bands are too wide to see what matters"
        raise InvalidInput("--sbc.simulations", simulations, problem, f"give at least {LEAST_SIMULATIONS}")
    if draws < LEAST_DRAWS:
        problem = "so few draws cannot show a 95% interval"
        raise InvalidInput("--sbc.draws", draws, problem, f"give at least {LEAST_DRAWS}; 199 is exact")


def _batches(simulated: Simulated, size: int) -> Iterator[tuple[Tensor, Latents]]:
    """Images with the latents that made them, so many at a time."""
    for begin in range(0, len(simulated), size):
        part = slice(begin, begin + size)
        yield simulated.x[part], {name: z[part] for name, z in simulated.latents.items()}


def _one(
    program: nn.Module, guide: nn.Module, x: Tensor, truth: Latents, log_p_truth: Tensor, draws: int, chunk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Ranks (Q,), log-weights of the draws (L,) and of the truth () for one simulated image (1, D)."""
    found, log_p, log_q = [], [], []
    for size in [min(chunk, draws - begin) for begin in range(0, draws, chunk)]:
        model_trace, guide_trace = traces(program, guide, x, size)
        found.append(_flat({name: guide_trace.nodes[name]["value"][:, 0] for name in program.latents}, program.latents))
        log_p.append(sum_of_sites(model_trace, (size, 1))[:, 0].double())
        log_q.append(sum_of_sites(guide_trace, (size, 1))[:, 0].double())
    log_p, log_q = torch.cat(log_p), torch.cat(log_q)
    components = _flat(truth, program.latents)[0]
    ranks = torch.cat([
        _rank(torch.cat(found), components, 0.0),
        _rank(log_p[:, None], log_p_truth[None], TIE * log_p_truth.abs().clamp(min=1)),
    ])  # fmt: skip
    return ranks, log_p - log_q, log_p_truth - _log_q(guide, x, truth)


def log_density(module: nn.Module, x: Tensor, latents: Latents) -> Tensor:
    """log p(x, z) of a program, or log q(z | x) of a guide, at given latents, one per image: (N,), float64."""
    trace = poutine.trace(poutine.condition(module, data=dict(latents))).get_trace(x)
    return sum_of_sites(poutine.util.prune_subsample_sites(trace), (1, len(x)))[0].double()


def _log_q(guide: nn.Module, x: Tensor, truth: Latents) -> Tensor:
    """log q(z | x) at the truth; NaN where the family can only score its own draws."""
    try:
        return log_density(guide, x, truth)[0]
    except NotImplementedError:
        return torch.full((), torch.nan, dtype=torch.float64, device=x.device)


def _flat(latents: Latents, names: tuple[str, ...]) -> Tensor:
    """All components beside each other: (n, Q - 1), float64."""
    return torch.cat([latents[name].double().reshape(len(latents[name]), -1) for name in names], 1)


def _names(latents: Latents, sites: tuple[str, ...]) -> list[str]:
    """Names of the components of one image's latents, in the order of ``_flat``."""
    return [f"{name}[{number}]" for name in sites for number in range(latents[name].numel())]


def _rank(draws: Tensor, truth: Tensor, tie: float | Tensor) -> Tensor:
    """How many of the draws (L, q) lie below the truth (q,), ties broken by chance: (q,)."""
    below = (draws < truth - tie).sum(0)
    ties = ((draws - truth).abs() <= tie).sum(0)
    return below + (torch.rand(ties.shape, device=ties.device) * (ties + 1)).floor().long()
