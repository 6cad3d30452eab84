"""log p(x) of programs with one or two continuous latents, by a quadrature that says how far it can be trusted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Transform, biject_to

from ppl_models.errors import InvalidInput
from ppl_models.program import LatentProgram

from ..claims import Claim
from ..randomness import keyed_noise
from .base import MAX_ELEMENTS, Estimate, Estimator, positive, rows_within
from .enumerated import JointOfCodes, in_float64

TOLERANCE = 1e-4
MAX_LATENTS = 2
# Nodes per axis of the first grid and the most of any, by the number of latents. Odd numbers: every second node of a
# grid, its ends among them, is a grid too.
NODES = {1: (513, 2**19 + 1), 2: (129, 1025)}
PRIOR_DRAWS = 4096


class Quadrature(Estimator):
    """log p(x) = log of the integral of p(z) p(x | z) over z, at most two continuous latents; claim ``NUMERICAL``, to
    1e-4 nats.

    The trapezoidal rule on a uniform grid, which converges faster than any power of the step where an integrand is
    smooth and decays on all sides (Trefethen & Weideman 2014, SIAM Review 56). A latent that is confined (positive, in
    an interval) is integrated over the real line it is mapped to, with the Jacobian. The grid is refined, image by
    image, until three things hold:

    - the 2^L grids of every second node, each a rule of its own with twice the step, agree with the whole to
      ``tolerance`` nats: the error estimate, and a cautious one, since halving a step that small squares the error;
    - less than that share of the integral would lie outside if the integrand went on at its edge as it is there for
      half the width of the box, which holds the prior's draws at first; else the box grows;
    - a grid eight times as fine around the best node finds no peak that the nodes have missed.

    What no node of any of these grids sees is not integrated: a second peak far from the best node and narrower than a
    sixth of the first step, which is 1/512 of the prior's range with one latent and 1/128 with two.

    The decoder runs once per node and not per image. Values and sums are float64, of a copy of the program.

    Args:
        tolerance: nats, what the error estimate must come below.
        max_elements: bound on the elements of the largest tensor of one chunk of nodes and images.

    Raises:
        InvalidInput: for a tolerance that is not positive.
    """

    name, claim = "quadrature", Claim.NUMERICAL
    shares_work = True

    def __init__(self, tolerance: float = TOLERANCE, max_elements: int = 8 * MAX_ELEMENTS) -> None:
        if not 0 < tolerance < 1:
            raise InvalidInput("tolerance", tolerance, "is no error in nats", "give for example 1e-4")
        self.tolerance = float(tolerance)
        self.max_elements = positive("max_elements", max_elements, "the bound")

    def estimate(self, program: nn.Module, x: Tensor, index: Sequence[int]) -> Estimate:
        """Grids of rising fineness, over the images that still need them.

        Raises:
            InvalidInput: unless the program has one latent vector of one or two continuous latents; for images that the
                finest grid does not resolve.
        """
        check_quadrature(program)
        program = in_float64(program)
        rows = rows_within(self.max_elements, x.shape[-1], program)
        grid = first_grid(program, x.device)
        images, values = x.double(), x.new_full((len(x),), math.nan, dtype=torch.float64)
        errors, left = values.clone(), torch.arange(len(x), device=x.device)
        most = NODES[program.latent_dim][1]
        while len(left):
            found = grid.integrate(program, images[left], rows)
            outside = found.beyond > math.log(self.tolerance)
            if outside.any():
                left_out, larger = left[outside], grid.grown()
            else:
                done = found.error.le(self.tolerance) & ~grid.misses_a_peak(program, images[left], found, rows)
                values[left[done]], errors[left[done]] = found.value[done], found.error[done]
                left = left_out = left[~done]
                larger = grid.refined()
            if len(left) and larger.nodes > most:
                refuse_unresolved(program, index[int(left_out[0])], len(left_out), grid)
            grid = larger
        return Estimate(values, self.claim, tolerance=self.tolerance, diagnostics={"error": errors})


def check_quadrature(program: nn.Module, argument: str = "quadrature") -> None:
    """Raise ``InvalidInput`` unless the program has one latent vector z of one or two continuous components."""
    kind = type(program).__name__
    if not isinstance(program, LatentProgram):
        named = ", ".join(getattr(program, "latents", ()))
        problem = f"has latents {named}, not one vector z" if named else "has no latents"
        raise InvalidInput(argument, kind, problem, "use ais:1000" if named else "use exact")
    if program.prior().support.is_discrete:
        raise InvalidInput(argument, kind, "has discrete latents", "use enumerate")
    if program.latent_dim > MAX_LATENTS:
        problem = f"has {program.latent_dim} latents, and a grid over more than {MAX_LATENTS} has too many nodes"
        raise InvalidInput(argument, kind, problem, "use ais:1000 or iw:5000")


def refuse_unresolved(program: nn.Module, image: int, count: int, grid: Grid) -> None:
    """Raise ``InvalidInput``: the integrand is sharper than the finest grid, or never decays."""
    problem = f"{count} image(s), the first {image}, are not resolved by {grid.nodes} nodes per latent"
    raise InvalidInput("quadrature", type(program).__name__, problem, "use ais:1000 or iw:5000")


class Grid:
    """A uniform grid over a box of the unconstrained latents u, z = transform(u).

    Args:
        low, high: corners of the box (L,).
        nodes: per axis, an odd number.
        transform: from the real line to the latents' support.
    """

    def __init__(self, low: Tensor, high: Tensor, nodes: int, transform: Transform) -> None:
        self.low, self.high, self.nodes, self.transform = low, high, nodes, transform
        self.step = (high - low) / (nodes - 1)
        self.log_volume = self.step.log().sum()

    def refined(self) -> Grid:
        """The same box with half the step."""
        return Grid(self.low, self.high, 2 * self.nodes - 1, self.transform)

    def grown(self) -> Grid:
        """A box half as wide again with the same step."""
        more = (self.nodes + 3) // 4
        return Grid(self.low - more * self.step, self.high + more * self.step, self.nodes + 2 * more, self.transform)

    def at(self, numbers: Tensor) -> Tensor:
        """The nodes u (S, L) of these numbers (S,) in row-major order."""
        return self.low + self.places(numbers) * self.step

    def places(self, numbers: Tensor) -> Tensor:
        """Their integer places along each axis: (S, L)."""
        last = numbers % self.nodes
        return last.unsqueeze(-1) if len(self.low) == 1 else torch.stack([numbers // self.nodes, last], -1)

    def log_integrand(self, program: LatentProgram, u: Tensor, x: Tensor) -> Tensor:
        """log p(x, z(u)) + log |dz/du|: u (S, L), x (N, D) -> (S, N)."""
        z = self.transform(u)
        jacobian = self.transform.log_abs_det_jacobian(u, z)
        jacobian = jacobian if jacobian.ndim == 1 else jacobian.sum(-1)
        return JointOfCodes(program, z).log_prob(x) + jacobian.unsqueeze(-1)

    def integrate(self, program: LatentProgram, x: Tensor, rows: int) -> Integrals:
        """The rule over all nodes, over every second one and at the edge, with the best node of each image."""
        latents, count = len(self.low), len(x)
        shifts = list(itertools.product((0, 1), repeat=latents))
        sums = x.new_full((len(shifts), count), -math.inf)
        edge, top = x.new_full((count,), -math.inf), x.new_full((count,), -math.inf)
        best = torch.zeros(count, dtype=torch.int64, device=x.device)
        for numbers in torch.arange(self.nodes**latents, device=x.device).split(max(1, rows // count)):
            places = self.places(numbers)
            log_p = self.log_integrand(program, self.at(numbers), x)
            for number, shift in enumerate(shifts):
                chosen = (places % 2 == places.new_tensor(shift)).all(-1)
                sums[number] = torch.logaddexp(sums[number], log_p[chosen].logsumexp(0))
            outer = ((places == 0) | (places == self.nodes - 1)).any(-1)
            edge = torch.logaddexp(edge, log_p[outer].logsumexp(0))
            here, where = log_p.max(0)
            best, top = torch.where(here > top, numbers[where], best), torch.maximum(here, top)
        total = sums.logsumexp(0)
        value = total + self.log_volume
        coarse = sums + self.log_volume + latents * math.log(2)
        beyond = edge - total + math.log((self.nodes - 1) / 2)
        return Integrals(value, (coarse - value).abs().amax(0), beyond, best, top)

    def misses_a_peak(self, program: LatentProgram, x: Tensor, found: Integrals, rows: int) -> Tensor:
        """Whether it rises by more than half a nat per latent between the best node and its neighbours: (N,).

        Where the step resolves a peak of width s >= step, it rises by at most 1/8 (step / s)^2 per latent.
        """
        latents = len(self.low)
        offsets = torch.linspace(-1, 1, 17, dtype=x.dtype, device=x.device)
        around = torch.cartesian_prod(*[offsets] * latents).reshape(-1, latents) * self.step
        centres = self.at(found.best)
        missed = []
        for image, centre, top in zip(x, centres, found.top, strict=True):
            parts = [self.log_integrand(program, u, image[None]) for u in (centre + around).split(rows)]
            missed.append(torch.cat(parts).max() > top + 0.5 * latents)
        return torch.stack(missed)


class Integrals:
    """What a grid found: log integrals (N,), their error estimates in nats, the logarithm of the share beyond the edge,
    the number of the best node and the log-integrand there."""

    def __init__(self, value: Tensor, error: Tensor, beyond: Tensor, best: Tensor, top: Tensor) -> None:
        self.value, self.error, self.beyond, self.best, self.top = value, error, beyond, best, top


def first_grid(program: LatentProgram, device: torch.device) -> Grid:
    """The box that holds the prior's draws, on the real line."""
    with keyed_noise("quadrature", device=device):
        prior = program.prior()
        transform = biject_to(prior.support)
        u = transform.inv(prior.sample(torch.Size((PRIOR_DRAWS,))).double())
    return Grid(u.amin(0), u.amax(0), NODES[program.latent_dim][0], transform)
