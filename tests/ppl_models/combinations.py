"""The axes of the latent family, prior, guide and likelihood, and the list of the combinations that are refused.

A guide with an encoder is one line in ``guides/amortized_families.py``; a prior or a program is one line here. The line
buys every combination with the two other axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import nn

from ppl_models.autoencoder import Autoencoder
from ppl_models.guides import (
    CodeNormal,
    DiagonalNormal,
    GuideProgram,
    IndependentBernoulli,
    LadderNormal,
    Laplace,
    OneHotCategorical,
    PyroAuto,
    SemiAmortized,
)
from ppl_models.priors import (
    AutoregressivePrior,
    Bits,
    FlowPrior,
    MixtureOfNormals,
    OneHot,
    Prior,
    StandardNormal,
    VampPrior,
)
from ppl_models.program import GenerativeProgram
from ppl_models.programs import (
    VAE,
    AutoencoderDensity,
    ConvVAE,
    DiscreteVAE,
    LadderVAE,
    LinearVAE,
    LossyVAE,
    PixelVAE,
    RecurrentVAE,
    SkipVAE,
)
from tests.ppl_models.guides.amortized_families import FAMILIES

# Two latents that are real numbers can be integrated over a grid; three bits or categories can be listed.
CONTINUOUS, DISCRETE = 2, 3
SHAPE = (1, 2, 2)

# A program that has a prior of its own takes no other: its name on the axis of priors is OWN.
OWN = "own"
PRIORS: dict[str, Callable[[int], Prior]] = {
    "standard normal": lambda levels: StandardNormal(CONTINUOUS),
    "mixture": lambda levels: MixtureOfNormals(CONTINUOUS, 3),
    "vamp": lambda levels: VampPrior(CONTINUOUS, 4, 2, levels),
    "flow": lambda levels: FlowPrior(CONTINUOUS, 2, (4,)),
    "bits": lambda levels: Bits(DISCRETE),
    "autoregressive": lambda levels: AutoregressivePrior(DISCRETE, (5,)),
    "categorical": lambda levels: OneHot(DISCRETE),
}

GUIDES: dict[str, Callable[..., GuideProgram]] = {
    "diagonal": lambda L, **o: DiagonalNormal(4, L, (5,), **o),
    **{name: lambda L, make=make, **o: make(L, **o) for name, make in FAMILIES.items()},
    "zuko": lambda L, **o: FAMILIES["zuko"](L, kind="maf", **o),  # the grid is too coarse for the kinks of splines
    "laplace": lambda L, **o: Laplace(4, L, steps=2, hidden=(5,), **o),
    "semi-amortized": lambda L, **o: SemiAmortized(4, L, steps=2, num_draws=4, hidden=(5,), **o),
    "auto": lambda L, **o: PyroAuto(4, L, "AutoMultivariateNormal", steps=3),
    "code": lambda L, **o: CodeNormal(4, L, (5,)),
    "ladder": lambda L, **o: LadderNormal(4, L, (5,), **o),
    "bernoulli": lambda L, **o: IndependentBernoulli(4, L, (5,), **o),
    "one-hot": lambda L, **o: OneHotCategorical(4, L, (5,), **o),
}

# name -> (levels, prior (None for its own), length of z -> program over 2x2 pixels)
LIKELIHOODS: dict[str, tuple[int, Callable[[Prior | None, int], GenerativeProgram]]] = {
    "vae": (2, lambda p, L: VAE(4, L, (5,), prior=p)),
    "vae, categorical": (3, lambda p, L: VAE(4, L, (5,), prior=p, levels=3)),
    "vae, logistic": (4, lambda p, L: VAE(4, L, (5,), prior=p, levels=4, likelihood="logistic:2")),
    "vae, gaussian": (0, lambda p, L: VAE(4, L, (5,), prior=p, levels=0)),
    "conv": (2, lambda p, L: ConvVAE(4, L, (3,), prior=p, shape=SHAPE)),
    "recurrent": (2, lambda p, L: RecurrentVAE(4, L, (4,), prior=p, shape=SHAPE)),
    "skip": (2, lambda p, L: SkipVAE(4, L, (5, 4), prior=p)),
    "pixel": (2, lambda p, L: PixelVAE(4, L, (5,), context=2, channels=4, depth=1, prior=p, shape=SHAPE)),
    "pixel, logistic": (
        4,
        lambda p, L: PixelVAE(
            4, L, (5,), context=2, channels=4, depth=1, prior=p, levels=4, likelihood="logistic:1", shape=SHAPE
        ),
    ),
    "lossy": (2, lambda p, L: LossyVAE(4, L, (5,), context=2, channels=4, prior=p, shape=SHAPE)),
    "autoencoder": (2, lambda p, L: AutoencoderDensity(Autoencoder(4, L, (5,)), p)),
    "discrete": (2, lambda p, L: DiscreteVAE(4, L, (5,), prior=p)),
    "discrete, one-hot": (2, lambda p, L: DiscreteVAE(4, L, (5,), prior=p, code="one-hot")),
    "linear": (0, lambda p, L: LinearVAE(4, L, levels=0)),
    "ladder": (2, lambda p, L: LadderVAE(4, (1, 1), (5, 4))),
}
HAS_OWN_PRIOR = ("linear", "ladder")


@dataclass(frozen=True)
class Combination:
    """One of each axis, by name."""

    prior: str
    guide: str
    likelihood: str

    def __str__(self) -> str:
        return f"{self.prior}+{self.guide}+{self.likelihood}"

    @property
    def levels(self) -> int:
        """Number of values of a pixel."""
        return LIKELIHOODS[self.likelihood][0]

    def program(self) -> GenerativeProgram:
        """A program of its own, bound to no guide yet."""
        prior = None if self.prior == OWN else PRIORS[self.prior](self.levels)
        latent_dim = CONTINUOUS if prior is None else prior.latent_dim
        return LIKELIHOODS[self.likelihood][1](prior, latent_dim)

    def build(self, seed: int = 0) -> tuple[GenerativeProgram, GuideProgram]:
        """The pair in float64, bound to each other, its weights moved off the zeros that some start at."""
        torch.manual_seed(seed)
        program = shaken(self.program())
        guide = shaken(GUIDES[self.guide](program.latent_dim, **takes_levels(self.guide, self.levels)))
        guide.bind(program)
        return program, guide


def takes_levels(guide: str, levels: int) -> dict[str, int]:
    """The number of levels, for guides that scale images by it."""
    return {} if guide in ("auto", "code") else {"levels": levels}


@torch.no_grad()
def shaken(module: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, every parameter moved a little."""
    module.double().eval()
    for parameter in module.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def every_combination() -> Iterator[Combination]:
    """All of them."""
    for guide, likelihood in product(GUIDES, LIKELIHOODS):
        for prior in [OWN] if likelihood in HAS_OWN_PRIOR else PRIORS:
            yield Combination(prior, guide, likelihood)


REAL, CODES, UNITS = ("standard normal", "mixture", "vamp", "flow"), ("bits", "autoregressive"), ("categorical",)
DISCRETE_GUIDES = ("bernoulli", "one-hot")


@dataclass(frozen=True)
class Refusal:
    """Combinations that are refused, and the message; an axis that is not named is any.

    Args:
        message: a regular expression.
        priors, guides, likelihoods: names.
    """

    message: str
    priors: tuple[str, ...] = (*PRIORS, OWN)
    guides: tuple[str, ...] = tuple(GUIDES)
    likelihoods: tuple[str, ...] = tuple(LIKELIHOODS)

    def covers(self, c: Combination) -> bool:
        """Whether it is about this combination."""
        return c.prior in self.priors and c.guide in self.guides and c.likelihood in self.likelihoods


# The first that covers a combination is the reason: programs are built before guides, guides are bound, then rehearsed.
REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        r"prior '\w+': is over [\w-]+ latents of length \d, the code is binary of \d; take a prior whose kind is",
        priors=(*REAL, *UNITS),
        likelihoods=("discrete",),
    ),
    Refusal(
        r"prior '\w+': is over [\w-]+ latents of length \d, the code is one-hot of \d; take a prior whose kind is",
        priors=(*REAL, *CODES),
        likelihoods=("discrete, one-hot",),
    ),
    Refusal(
        r"prior '\w+': is over 3 (binary|one-hot) latents, and a code is 3 real numbers; give one over the codes",
        priors=(*CODES, *UNITS),
        likelihoods=("autoencoder",),
    ),
    Refusal(
        r"--guide '\w+': \w+ is a guide for one latent vector, and the program has several; use LadderNormal",
        guides=tuple(name for name in GUIDES if name != "ladder"),
        likelihoods=("ladder",),
    ),
    Refusal(
        r"guide 'LadderNormal': \w+ is no ladder; pair it with LadderVAE",
        guides=("ladder",),
        likelihoods=tuple(name for name in LIKELIHOODS if name != "ladder"),
    ),
    Refusal(
        r"guide 'CodeNormal': is a distribution around a code, and \w+ has none; use it with recipe autoencoder_gmm",
        guides=("code",),
        likelihoods=tuple(name for name in LIKELIHOODS if name not in ("autoencoder", "ladder")),
    ),
    Refusal(
        r"guide '\w+': commits its rate against a fixed N\(0, I\), and \w+ has the prior \w+; use the standard normal",
        priors=("mixture", "vamp", "flow", *CODES, *UNITS),
        guides=("delta", "batch norm"),
    ),
    Refusal(
        r"guide 'PyroAuto': has no encode and no family, from which the VampPrior is made; take one with both",
        priors=("vamp",),
        guides=("auto",),
    ),
    Refusal(
        r"guide '\w+': follows gradients, and the latents of \w+ are discrete; use IndependentBernoulli or One",
        priors=(*CODES, *UNITS),
        guides=("laplace", "semi-amortized", "auto"),
    ),
    Refusal(
        r"guide '\w+': is continuous at site 'z' where the prior is discrete.*; give a discrete distribution",
        priors=(*CODES, *UNITS),
        guides=tuple(name for name in GUIDES if name not in DISCRETE_GUIDES),
    ),
    Refusal(  # but not with vamp: a prior that is made of a discrete guide's posteriors is discrete
        r"guide '\w+': is discrete at site 'z' where the prior is continuous.*; give a continuous distribution",
        priors=("standard normal", "mixture", "flow", OWN),
        guides=DISCRETE_GUIDES,
    ),
    Refusal(
        r"guide 'IndependentBernoulli': draws codes at site 'z', and the prior is over unit vectors; use OneHotCat",
        priors=UNITS,
        guides=("bernoulli",),
    ),
    Refusal(
        r"guide 'OneHotCategorical': draws unit vectors at site 'z', and the prior is over codes; use IndependentBern",
        priors=CODES,
        guides=("one-hot",),
    ),
)


def refusal_of(c: Combination) -> Refusal | None:
    """Why a combination is refused; ``None`` if it works."""
    return next((refusal for refusal in REFUSALS if refusal.covers(c)), None)
