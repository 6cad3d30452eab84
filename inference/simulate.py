"""Images drawn from a program together with the latents that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput

from .randomness import keyed_noise


@dataclass(frozen=True)
class Simulated:
    """Draws (x, z) of a program's joint distribution. Given x, z is an exact draw of p(z | x).

    Attributes:
        x: images (N, D).
        latents: by site, each (N, ...); empty for a program without latents.
        seed: of the simulation.
    """

    x: Tensor
    latents: Mapping[str, Tensor]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.x)


def simulate(program: nn.Module, n: int, seed: int) -> Simulated:
    """Draw n images with their latents. Image i depends on (program, seed, i) and not on n.

    Args:
        program: any program; it is evaluated (no dropout, running statistics).
        n: how many.
        seed: first part of the key of the noise.

    Raises:
        InvalidInput: for n < 1.
        NotADensityError: for the deterministic autoencoder, which draws nothing.
    """
    from .estimators.base import evaluation_mode

    if isinstance(program, NotADensity):
        program.refuse("simulate")
    if n < 1:
        raise InvalidInput("n", n, "a simulation has images", "give at least 1")
    device = next((p.device for p in program.parameters()), torch.device("cpu"))
    found: dict[str, list[Tensor]] = {name: [] for name in ("x", *program.latents)}
    with evaluation_mode(program):
        for image in range(n):
            with keyed_noise(seed, "simulate", image, device=device):
                trace = poutine.trace(program).get_trace(size=1)
            for name, values in found.items():
                values.append(trace.nodes[name]["value"])
    drawn = {name: torch.cat(values) for name, values in found.items()}
    return Simulated(drawn.pop("x"), drawn, seed)
