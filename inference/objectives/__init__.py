"""Objectives: what training minimises, one file each. An objective is never reported as evidence."""

from collections.abc import Callable

from torch import nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput, nearest

from .base import Objective
from .elbo import NegativeElbo, PyroElbo
from .likelihood import NegativeLogLikelihood
from .reconstruction import ReconstructionError
from .scheduled_sampling import ScheduledSampling

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    objective.name: objective
    for objective in (NegativeLogLikelihood, NegativeElbo, ReconstructionError, ScheduledSampling)
}


def default_objective(program: nn.Module, guide: nn.Module | None) -> str:
    """The name of the objective a pair is trained with unless told otherwise."""
    if isinstance(program, NotADensity):
        return ReconstructionError.name
    return NegativeLogLikelihood.name if guide is None else NegativeElbo.name


def find_objective(name: str) -> Callable[..., Objective]:
    """The objective of that name.

    Raises:
        InvalidInput: for an unknown one, with the nearest names.
    """
    if name not in OBJECTIVES:
        raise InvalidInput("--objective", name, "unknown objective", nearest(name, OBJECTIVES))
    return OBJECTIVES[name]


__all__ = [
    "OBJECTIVES",
    "NegativeElbo",
    "NegativeLogLikelihood",
    "Objective",
    "PyroElbo",
    "ReconstructionError",
    "ScheduledSampling",
    "default_objective",
    "find_objective",
]
