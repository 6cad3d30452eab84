"""NUTS on p(z | x), one image and one chain at a time: chains and images run side by side in processes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import joblib
import pyro
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_sample
from pyro.infer.mcmc.util import initialize_model
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform
from tqdm import tqdm

from ppl_models.autoencoder import NotADensity
from ppl_models.errors import InvalidInput
from ppl_models.program import LatentProgram

from .estimators.base import positive
from .randomness import keyed_noise

STATISTICS = ("diverging", "acceptance_rate", "step_size", "potential")
PRIOR_DRAWS = 100

Potential = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Chains:
    """Draws of p(z | x) by NUTS.

    Attributes:
        latents: by site, each (chains, draws, N, ...); discrete sites are summed out and not among them.
        statistics: ``diverging``, ``acceptance_rate``, ``step_size``, ``potential`` (-log p(x, z) in
            unconstrained coordinates, nats), each (chains, draws, N).
    """

    latents: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]


def sample_posterior(
    program: nn.Module,
    x: Tensor,
    index: Sequence[int],
    *,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 500,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = False,
) -> Chains:
    """Draw from p(z | x) of each image by the no-U-turn sampler (Hoffman & Gelman 2014, 1111.4246), Pyro's.

    Each image is a run of its own: together they would share a step size, a mass matrix and the length of their paths.
    Chains start at draws from the prior, which lie wider than the posterior, as R-hat asks for; step size (acceptance
    .8) and diagonal mass matrix are tuned during the warm-up and then kept. Discrete latents beside continuous ones are
    summed out by enumeration.

    Args:
        program: any program with at least one continuous latent; it is not changed.
        x: images (N, D), on the CPU.
        index: their indices in the split: with seed and number of the chain the key of the noise.
        chains, warmup, draws: numbers per image.
        seed: first part of the key.
        jobs: processes side by side.

    Raises:
        InvalidInput: for counts below 1, or a program without continuous latents.
        NotADensityError: for the deterministic autoencoder.
    """
    for name, value in {"--chains": chains, "--warmup": warmup, "--draws": draws, "--jobs": jobs}.items():
        positive(name, value, "it")
    check_continuous(program, x)
    frozen = copy.deepcopy(program).requires_grad_(False).eval()
    tasks = [(place, chain) for place in range(len(x)) for chain in range(chains)]
    calls = [
        joblib.delayed(one_chain)(frozen, x[place : place + 1], warmup, draws, (seed, "nuts", int(index[place]), chain))
        for place, chain in tasks
    ]
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        pool = joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator")
        found = list(tqdm(pool(calls), desc="NUTS chains", total=len(tasks), disable=not progress))
    columns = {name: torch.stack([one[name] for one in found]) for name in found[0]}
    columns = {name: v.unflatten(0, (len(x), chains)).movedim(0, 2) for name, v in columns.items()}
    statistics = {name: columns.pop(name) for name in STATISTICS}
    return Chains(columns, statistics)


def check_continuous(program: nn.Module, x: Tensor) -> tuple[str, ...]:
    """The program's discrete latents, which are to be summed out; x (N, D) may be any images of it.

    Raises:
        InvalidInput: if it has no latents, none that is continuous, or discrete ones that cannot be enumerated.
        NotADensityError: for the deterministic autoencoder.
    """
    if isinstance(program, NotADensity):
        program.refuse("a posterior")
    kind = type(program).__name__
    if not program.latents:
        raise InvalidInput("run", kind, "has no latents, and so no posterior", "name a run of a latent program")
    with torch.no_grad(), keyed_noise("sites", device=x.device):
        sites = poutine.trace(program).get_trace(x[:1]).nodes
    found = [name for name in program.latents if sites[name]["fn"].support.is_discrete]
    if len(found) == len(program.latents):
        problem = f"its latents {', '.join(found)} are discrete, and NUTS moves along gradients"
        raise InvalidInput("run", kind, problem, "their posterior is enumerated: evaluate with --estimators enumerate")
    for name in found:
        if not sites[name]["fn"].has_enumerate_support:
            problem = f"its discrete latent {name} cannot be enumerated, and NUTS moves along gradients"
            raise InvalidInput("run", kind, problem, "give it a distribution with has_enumerate_support")
    return tuple(found)


def one_chain(program: nn.Module, image: Tensor, warmup: int, draws: int, key: tuple[object, ...]) -> dict[str, Tensor]:
    """One chain for one image (1, D): latents by site (draws, ...) and statistics (draws,)."""
    trail = Trail()
    # the distributions were checked by the first trace; checking every leapfrog step costs a quarter of the time
    with keyed_noise(*key), pyro.validation_enabled(False):
        kernel, start = make_kernel(program, image)
        mcmc = MCMC(kernel, draws, warmup, start, disable_progbar=True, hook_fn=trail.record)
        mcmc.run()
    latents = {name: z.squeeze(1).detach() for name, z in mcmc.get_samples().items()}
    return latents | trail.statistics()


def make_kernel(program: nn.Module, image: Tensor) -> tuple[NUTS, dict[str, Tensor]]:
    """The sampler for one image (1, D), and a draw from the prior in its unconstrained coordinates to start from.

    Most programs are one latent vector of real numbers and write p(z) and p(x | z) down: their potential is computed
    from the two, in half the time of a trace.
    """
    plain = isinstance(program, LatentProgram) and type(program).forward is LatentProgram.forward
    if plain and is_real(program.prior().support):
        potential, transforms = plain_potential(program, image), {}
    else:
        _, potential, transforms, _ = initialize_model(
            program, (image,), max_plate_nesting=1, init_strategy=init_to_sample, initial_params={}
        )
    return NUTS(potential_fn=potential, transforms=transforms), starting_point(program, image, potential, transforms)


def plain_potential(program: LatentProgram, image: Tensor) -> Potential:
    """-log p(x, z) of z (1, L) by the program's own prior and likelihood."""
    prior = program.prior()

    def potential(latents: Mapping[str, Tensor]) -> Tensor:
        z = latents["z"]
        return -(prior.log_prob(z) + program.likelihood(z).log_prob(image)).sum()

    return potential


def starting_point(
    program: nn.Module, image: Tensor, potential: Potential, transforms: Mapping[str, Transform]
) -> dict[str, Tensor]:
    """A draw from the prior of the continuous latents, at which p(x, z) is above 0.

    Pyro's own start would do where all latents are continuous. Beside an enumerated site it draws z for each of its
    values and keeps them all, and the chain would move several latents where the program has one.

    Raises:
        InvalidInput: if a hundred draws have p(x, z) = 0.
    """
    for _ in range(PRIOR_DRAWS):
        sites = poutine.trace(program).get_trace(image).nodes
        found = {name: sites[name] for name in program.latents if not sites[name]["fn"].support.is_discrete}
        start = {name: transforms[name](s["value"]) if transforms else s["value"] for name, s in found.items()}
        if torch.isfinite(potential(start)):
            return start
    problem = f"{PRIOR_DRAWS} draws from the prior have p(x, z) = 0 for an image"
    raise InvalidInput("run", type(program).__name__, problem, "give a likelihood that is above 0 where the prior is")


def is_real(support: Constraint) -> bool:
    """Whether these are all real numbers or vectors."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real


class Trail:
    """What the kernel knows at each draw after the warm-up."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, float]] = []
        self.divergences: list[int] = []

    def record(self, kernel: NUTS, params: Mapping[str, Tensor], stage: str, step: int) -> None:
        """Pyro's hook. The kernel keeps the running mean of the acceptance rate: times the count, it is a sum."""
        if stage.startswith("Sample"):
            self.divergences = kernel.diagnostics()["divergences"]
            self.rows.append((kernel._mean_accept_prob, kernel.step_size, float(kernel._potential_energy_last)))

    def statistics(self) -> dict[str, Tensor]:
        """Each draw's acceptance rate (draws,), step size and potential energy, and whether it diverged."""
        mean, step_size, potential = torch.tensor(self.rows, dtype=torch.float64).T
        total, diverging = mean * torch.arange(1, len(mean) + 1), torch.zeros(len(mean))
        diverging[self.divergences] = 1
        rate = total.diff(prepend=total.new_zeros(1))
        return {"acceptance_rate": rate, "step_size": step_size, "potential": potential, "diverging": diverging}
