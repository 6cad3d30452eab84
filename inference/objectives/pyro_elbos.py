"""Pyro's own ELBOs by name, for the command line."""

from __future__ import annotations

from pyro.infer import ELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from torch import nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput, nearest

from .elbo import PyroElbo, check_particles
from .terms import require_mean_field

ELBOS: dict[str, type[ELBO]] = {
    "Trace_ELBO": Trace_ELBO,
    "TraceMeanField_ELBO": TraceMeanField_ELBO,
    "TraceEnum_ELBO": TraceEnum_ELBO,
}

# Why the others are not in the table.
REFUSED = {
    "RenyiELBO": "puts the plate's scale inside its log-sum-exp and has no differentiable loss",
    "TraceGraph_ELBO": "has no differentiable loss",
    "TraceTailAdaptive_ELBO": "ranks its particles by the sum over the batch, so that images share weights",
    "ReweightedWakeSleep": "has two losses, one for the program and one for the guide",
}


def pyro_elbo(
    program: nn.Module, guide: nn.Module | None, elbo: str = "Trace_ELBO", num_particles: int = 1
) -> PyroElbo:
    """``PyroElbo`` with one of Pyro's classes named.

    Args:
        program, guide: the pair.
        elbo: ``Trace_ELBO``, ``TraceMeanField_ELBO`` (which assumes that guide and prior depend on earlier latents
            alike) or ``TraceEnum_ELBO`` (which sums over the discrete sites that program or guide mark for it).
        num_particles: samples per image.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        InvalidInput: without a guide, for K < 1 or an ELBO that is unknown or does not fit.
    """
    check_particles(num_particles)
    if elbo in REFUSED:
        remedy = "use iwae" if elbo == "RenyiELBO" else f"use {' or '.join(ELBOS)}"
        raise InvalidInput("--objective.elbo", elbo, REFUSED[elbo], remedy)
    if elbo not in ELBOS:
        raise InvalidInput("--objective.elbo", elbo, "unknown ELBO", nearest(elbo, ELBOS))
    if elbo == "TraceMeanField_ELBO" and guide is not None and not isinstance(program, NotADensity):
        require_mean_field(program, guide, "--objective.elbo", elbo)
    options = {"strict_enumeration_warning": False} if elbo == "TraceEnum_ELBO" else {}
    made = ELBOS[elbo](
        num_particles=num_particles, max_plate_nesting=1, vectorize_particles=num_particles > 1, **options
    )
    return PyroElbo(program, guide, made)
