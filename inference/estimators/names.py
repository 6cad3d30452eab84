"""Estimators by name: ``exact``, ``elbo:64``, ``iw:5000``."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput, NoExactEvidenceError, nearest
from ppl_models.guides import GuideProgram
from ppl_models.program import HasLogProb

from .annealed import AnnealedImportance
from .annealing_options import AnnealingOptions
from .base import Estimator
from .enumerated import Enumerated, latent_values
from .exact import Exact
from .importance import Elbo, ImportanceWeighted
from .jackknife import JackknifedImportanceWeighted
from .quadrature import Quadrature, check_quadrature
from .reverse import ReverseAnnealedImportance

# Name -> (constructor, the example shown in messages). An example with a colon means that the name takes a number.
ESTIMATORS: dict[str, tuple[Callable[..., Estimator], str]] = {
    "exact": (Exact, "exact"),
    "elbo": (Elbo, "elbo:64"),
    "iw": (ImportanceWeighted, "iw:5000"),
    "jackknife": (JackknifedImportanceWeighted, "jackknife:5000"),
    "ais": (AnnealedImportance, "ais:1000"),
    "bdmc": (ReverseAnnealedImportance, "bdmc:1000"),
    "enumerate": (Enumerated, "enumerate"),
    "quadrature": (Quadrature, "quadrature"),
}


def check_name(name: str) -> tuple[str, int | None]:
    """The name's stem and number.

    Raises:
        InvalidInput: for an unknown name, a missing, extra or unreadable number, or one below 1.
    """
    stem, colon, number = name.partition(":")
    if stem not in ESTIMATORS:
        raise InvalidInput("--estimators", name, "unknown estimator", nearest(stem, ESTIMATORS))
    example = ESTIMATORS[stem][1]
    if (":" in example) != bool(colon):
        raise InvalidInput(
            "--estimators",
            name,
            "takes a number" if ":" in example else "takes no number",
            f"write {example}",
        )
    if not colon:
        return stem, None
    if not re.fullmatch(r"\d{1,9}", number, re.ASCII) or int(number) < 1:
        raise InvalidInput(
            "--estimators", name, "K must be a whole number of at least 1 and below 10^9", f"write {example}"
        )
    return stem, int(number)


def parse_estimator(
    name: str,
    program: nn.Module,
    guide: GuideProgram | None,
    *,
    seed: int = 0,
    annealing: AnnealingOptions | None = None,
) -> Estimator:
    """The estimator of that name for a (program, guide) pair.

    Args:
        name: as on the command line.
        program, guide: the pair.
        seed: of the noise.
        annealing: options of ``ais`` and ``bdmc``.

    Raises:
        NotADensityError: for the deterministic autoencoder.
        NoExactEvidenceError: for ``exact`` on a program that has only bounds.
        InvalidInput: for an unknown or unreadable name, or one that the program does not admit; it names
            ``--estimators`` and the name, whoever refuses.
    """
    stem, number = check_name(name)
    if isinstance(program, NotADensity):
        program.refuse(name)
    try:
        return _build(name, stem, number, program, guide, seed, annealing or AnnealingOptions())
    except InvalidInput as error:
        if error.argument.startswith("--") or not error.problem:  # the latter was remade by Pyro, and is one line
            raise
        kind = type(program).__name__
        problem = f"{kind} {error.problem}" if error.value == kind else error.problem
        raise InvalidInput("--estimators", name, problem, error.remedy) from error


def _build(
    name: str,
    stem: str,
    number: int | None,
    program: nn.Module,
    guide: GuideProgram | None,
    seed: int,
    annealing: AnnealingOptions,
) -> Estimator:
    kind = type(program).__name__
    if stem == Enumerated.name:
        latent_values(program)  # refuses here, before anything is scored
        return Enumerated()
    if stem == Quadrature.name:
        check_quadrature(program)
        return Quadrature()
    if stem in ("ais", "bdmc"):
        return annealing.build(ESTIMATORS[stem][0], number, program, guide, seed)
    if number is None:
        if not isinstance(program, HasLogProb):
            problem = f"{kind} has no exact log p(x), only bounds"
            raise NoExactEvidenceError("--estimators", name, problem, "use for example elbo:64 iw:5000")
        return ESTIMATORS[stem][0]()
    if guide is None:
        raise InvalidInput("--estimators", name, f"{kind} has no latents and so no bound", "use exact")
    return ESTIMATORS[stem][0](guide, number, seed=seed)
