"""The best member of a guide's family for each image, by gradient ascent on that image's own ELBO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppl_models.guides import Guide

from ..objectives.replay import frozen
from ..randomness import keyed_noise
from ..weights import log_weights
from .family import Family, FixedPosterior, with_little_noise
from .settings import GapSettings

# Images that are optimized side by side. A block is always full (see ``blocks``), so that changing it changes noise.
BLOCK = 25
# Standard deviations of the noise on the encoder's parameters in a perturbed start, and on zeros in the prior-like one:
# components of a mixture that start alike would get the same gradient.
PERTURBED, PRIOR_LIKE = 0.5, 0.1


def start_names(count: int) -> list[str]:
    """What the starts are, in their order."""
    return ["encoder", "prior-like", *(f"perturbed {number}" for number in range(1, count - 1))][:count]


def optimized(
    program: nn.Module, guide: Guide, x: Tensor, index: Sequence[int], settings: GapSettings, seed: int,
    progress: bool = False,
) -> Tensor:  # fmt: skip
    """Parameters of the family for each start and image, after the optimization: (S, N, P).

    An image's result depends on its index, its pixels and the seed, not on what else is in x.

    Args:
        program, guide: the pair, in evaluation mode; its own parameters stay as they are.
        x: images (N, D).
        index: their indices in the split.
        settings: what may be spent.
        seed: first part of the key of the noise.
        progress: show a bar.
    """
    first = starts(guide, x, index, settings.starts, seed)
    found = torch.empty_like(first)
    todo = list(blocks(index))
    for number, rows in tqdm(todo, desc="gap", disable=not progress):
        full_x, full_start = x.new_zeros(BLOCK, x.shape[-1]), first.new_zeros(len(first), BLOCK, first.shape[-1])
        places = [index[row] % BLOCK for row in rows]
        full_x[:] = x[rows[0]]  # any image of the program's sample space will do in the places that stay empty
        full_x[places], full_start[:, places] = x[rows], first[:, rows]
        with keyed_noise(seed, "gap steps", number, device=x.device):
            found[:, rows] = ascended(program, guide.family, full_x, full_start, settings)[:, places]
    return found


def blocks(index: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Images in blocks of ``BLOCK`` successive indices of the split: number of the block, rows of x that are in it.

    The noise of a step is drawn for a whole block at once. A block has all its places, filled or not, and an image has
    the place of its index: the numbers that it gets do not depend on which of the others are there. (A distribution
    that draws by rejection, at a rate that differs from image to image, uses up noise at that rate, and then they do:
    ``StudentT(per_image=True)``.)
    """
    of_block: dict[int, list[int]] = {}
    for row, image in enumerate(index):
        of_block.setdefault(int(image) // BLOCK, []).append(row)
    yield from sorted(of_block.items())


def starts(guide: Guide, x: Tensor, index: Sequence[int], count: int, seed: int) -> Tensor:
    """Where the optimization of each image begins: (S, N, P), see ``GapSettings``."""
    with torch.no_grad():
        own = guide.encode(x).detach()
    rows = []
    for parameters, image in zip(own, index, strict=True):
        with keyed_noise(seed, "gap starts", int(image), device=x.device):
            noise = torch.randn(max(count - 1, 0), own.shape[-1], dtype=own.dtype, device=own.device)
        others = parameters + PERTURBED * noise
        others[:1] = PRIOR_LIKE * noise[:1]
        rows.append(torch.cat([parameters.unsqueeze(0), others])[:count])
    return torch.stack(rows, 1)


def ascended(program: nn.Module, family: Family, x: Tensor, start: Tensor, settings: GapSettings) -> Tensor:
    """Parameters (S, N, P) after the steps of Adam from ``start``; x (N, D).

    Adam treats every number by itself, and no image's bound holds another's parameters: the images, and the starts of
    an image, are optimized side by side without touching each other.
    """
    parameters = start.flatten(0, 1).clone().requires_grad_()
    images = x.repeat(len(start), 1)
    optimizer = torch.optim.Adam([parameters], lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, settings.steps)
    with torch.enable_grad(), frozen(program.parameters()):
        for _ in range(settings.steps):
            members = FixedPosterior(with_little_noise(family, parameters))
            log_w = log_weights(program, members, images, settings.num_particles)
            (parameters.grad,) = torch.autograd.grad(-log_w.mean(0).sum(), parameters)
            optimizer.step()
            schedule.step()
    return parameters.detach().view_as(start)
