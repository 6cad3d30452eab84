"""Objectives: what training minimises, one file each. An objective is never reported as evidence."""

from collections.abc import Callable

from torch import nn

from ppl_models.autoencoder import NotADensity
from ppl_models.distributions.binary_code import MAX_BITS
from ppl_models.errors import InvalidInput, nearest
from ppl_models.programs import DiscreteVAE
from ppl_models.programs.autoencoder_density import AutoencoderDensity

from .base import Objective
from .code_density import CodeDensity
from .elbo import NegativeElbo, PyroElbo
from .importance import NegativeImportanceWeighted
from .likelihood import NegativeLogLikelihood
from .linear_elbo import LinearElbo
from .mmd import MmdRegularized
from .pyro_elbos import pyro_elbo
from .reconstruction import ReconstructionError
from .released import ReleasedFreeBits
from .scheduled_sampling import ScheduledSampling
from .schedules import Schedule
from .trace_enum import TraceEnum

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    NegativeLogLikelihood.name: NegativeLogLikelihood,
    NegativeElbo.name: NegativeElbo,
    ReleasedFreeBits.name: ReleasedFreeBits,
    NegativeImportanceWeighted.name: NegativeImportanceWeighted,
    MmdRegularized.name: MmdRegularized,
    LinearElbo.name: LinearElbo,
    TraceEnum.name: TraceEnum,
    CodeDensity.name: CodeDensity,
    PyroElbo.name: pyro_elbo,
    ScheduledSampling.name: ScheduledSampling,
    ReconstructionError.name: ReconstructionError,
}


def default_objective(program: nn.Module, guide: nn.Module | None) -> str:
    """The name of the objective a pair is trained with unless told otherwise."""
    if isinstance(program, NotADensity):
        return ReconstructionError.name
    if isinstance(program, AutoencoderDensity):
        return CodeDensity.name
    if isinstance(program, DiscreteVAE) and (
        program.latent_dim <= (2**MAX_BITS if program.code == "one-hot" else MAX_BITS)
    ):
        return TraceEnum.name
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
    "CodeDensity",
    "LinearElbo",
    "MmdRegularized",
    "NegativeElbo",
    "NegativeImportanceWeighted",
    "NegativeLogLikelihood",
    "Objective",
    "PyroElbo",
    "ReconstructionError",
    "ReleasedFreeBits",
    "Schedule",
    "ScheduledSampling",
    "TraceEnum",
    "default_objective",
    "find_objective",
    "pyro_elbo",
]
