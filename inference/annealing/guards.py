"""What is held fixed while chains run, and what their weights must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor, nn

from ppl_models.guides.laplace import steady

from ..weights import REMEDY, NonFiniteError
from .bridge import Bridge
from .passes import Pass


@contextmanager
def fixed(x: Tensor, program: nn.Module, *modules: nn.Module) -> Iterator[None]:
    """Inside, densities are fixed functions of z: no parameter asks for a gradient, none is validated at every step."""
    asked = [p for module in (program, *modules) for p in module.parameters() if p.requires_grad]
    try:
        for parameter in asked:
            parameter.requires_grad_(False)
        with steady(program, x), pyro.validation_enabled(False):
            yield
    finally:
        for parameter in asked:
            parameter.requires_grad_(True)


def check_weights(name: str, bridge: Bridge, passed: Pass, index: Sequence[int]) -> None:
    """Raise ``NonFiniteError`` if a weight is NaN or +infinity, with image and site."""
    bad = passed.log_weight.isnan() | (passed.log_weight == torch.inf)
    if not bad.any():
        return
    chain, place = bad.nonzero()[0].tolist()
    finite = bool(passed.point.log_start[chain, place].isfinite())
    sites = "'x'" if finite else ", ".join(map(repr, bridge.sites))
    where = f"image {index[place]}, by the density of site {sites}"
    raise NonFiniteError(f"{name}: a weight is NaN or +infinity at {where}; {REMEDY}")
