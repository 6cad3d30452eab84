"""Priors by name, as recipes and the command line spell them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from ..errors import InvalidInput, nearest
from .autoregressive import AutoregressivePrior
from .base import Prior
from .discrete import Bits, OneHot
from .flow import FlowPrior
from .mixture_of_normals import MixtureOfNormals
from .standard_normal import StandardNormal
from .vamp import VampPrior

# Name -> (class, the option that a number after a colon sets, if it takes one).
PRIORS: dict[str, tuple[Callable[..., Prior], str | None]] = {
    "standard-normal": (StandardNormal, None),
    "mixture": (MixtureOfNormals, "components"),
    "vamp": (VampPrior, "components"),
    "flow": (FlowPrior, "flows"),
    "bits": (Bits, None),
    "categorical": (OneHot, None),
    "autoregressive": (AutoregressivePrior, None),
}
MAX_DIGITS = 6


def make_prior(spec: str, latent_dim: int, *, data_dim: int, levels: int = 2, kinds: Sequence[str] = ()) -> Prior:
    """The prior that a text names.

    Args:
        spec: for continuous latents ``"standard-normal"``, ``"mixture:K"``, ``"vamp:K"`` or ``"flow:F"``, the last
            three also without their number; for binary codes ``"bits"`` or ``"autoregressive"``; for one-hot vectors
            ``"categorical"``.
        latent_dim: L, the length of z.
        data_dim: D, the number of pixels, which the VampPrior needs to know.
        levels: number of values of a pixel; 0 for real-valued ones.
        kinds: what latents the program can have (``Prior.kind``); empty for any.

    Raises:
        InvalidInput: for an unknown name, a prior of other latents, or an extra or unreadable number.
    """
    name, colon, number = str(spec).partition(":")
    fitting = [known for known, (cls, _) in PRIORS.items() if not kinds or cls.kind in kinds]
    if name not in PRIORS:
        raise InvalidInput("prior", spec, "unknown prior", nearest(name, fitting))
    cls, option = PRIORS[name]
    if name not in fitting:
        problem = f"is over {cls.kind} latents, and the program's are {' or '.join(kinds)}"
        raise InvalidInput("prior", spec, problem, f"use {', '.join(map(usage, fitting))}")
    options = {} if not colon else {option: _read(str(spec), option, number)}
    given = {"data_dim": data_dim, "levels": levels}
    wanted = inspect.signature(cls).parameters
    return cls(latent_dim, **{key: value for key, value in given.items() if key in wanted}, **options)


def usage(name: str) -> str:
    """How a prior is written: ``vamp:COMPONENTS``."""
    option = PRIORS[name][1]
    return name if option is None else f"{name}:{option.upper()}"


def _read(spec: str, option: str | None, number: str) -> int:
    """The number after the colon.

    Raises:
        InvalidInput: where none is taken, or none can be read.
    """
    name = spec.partition(":")[0]
    if option is None:
        raise InvalidInput("prior", spec, "takes no number", f"write {name}")
    if not (number.isascii() and number.isdecimal() and len(number) <= MAX_DIGITS and int(number)):
        raise InvalidInput("prior", spec, f"{option} is a whole number of at least 1", f"write for example {name}:2")
    return int(number)
