"""The terms of a bound, site by site: log-likelihoods, divergences from the prior, scores of draws without gradient."""

from __future__ import annotations

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from ppl_models.errors import InvalidInput

from ..estimators.base import evaluation_mode
from ..randomness import keyed_noise
from ..rehearsal import rehearse
from ..weights import traces


def log_prob(site: dict) -> Tensor:
    """The unscaled log-density of a sample site, nats, shape as its plates: (K, N)."""
    return scale_and_mask(site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"]), 1.0, site["mask"])


def total_log_prob(trace: Trace, *, observed: bool | None = None) -> Tensor:
    """Sum of the log-densities of a trace's sample sites: (K, N).

    Unlike the estimators' it is not checked for NaN, site by site: training looks at its loss.

    Args:
        trace: of a program or a guide.
        observed: only the observed sites, or only the others; all unless given.
    """
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    chosen = [site for site in sites if observed is None or site["is_observed"] == observed]
    return sum(log_prob(site) for site in chosen[1:]) + log_prob(chosen[0])


def score(trace: Trace) -> Tensor | None:
    """sum_s log q(z_s) over the guide's sites s whose draws no gradient passes: (K, N); ``None`` if it has none."""
    chosen = [site for site in trace.nodes.values() if site["type"] == "sample" and not site["fn"].has_rsample]
    return sum(log_prob(site) for site in chosen[1:]) + log_prob(chosen[0]) if chosen else None


def zero_valued(term: Tensor) -> Tensor:
    """term - its value: adds its gradient to a loss and nothing else."""
    return term - term.detach()


def divergence(prior: dict, posterior: dict, *, analytic: bool, per_dimension: bool = False) -> Tensor:
    """KL(q(z | ...) || p(z | ...)) of one latent site for each particle and image, nats.

    Args:
        prior, posterior: the site in the program's trace and in the guide's.
        analytic: integrate it where torch knows how; else the one-sample estimate log q(z) - log p(z) at the draw.
        per_dimension: one number for each of the dimensions over which q and p factorize.

    Returns:
        (K, N), or (K, N, L) per dimension. Where no gradient passes the draw of z, none passes log q either: its mean
        is zero.
    """
    p, q = prior["fn"], posterior["fn"]
    mask = posterior["mask"]
    if per_dimension:
        p, q, mask = factors(p, prior["name"]), factors(q, prior["name"]), None
    if analytic:
        try:
            return scale_and_mask(kl_divergence(q, p), 1.0, mask)
        except NotImplementedError:  # torch knows none for this pair
            pass
    log_q = q.log_prob(posterior["value"])
    log_q = log_q if q.has_rsample else log_q.detach()
    return scale_and_mask(log_q - p.log_prob(posterior["value"]), 1.0, mask)


def factors(distribution: TorchDistribution, name: str) -> TorchDistribution:
    """The distributions of the single dimensions of a latent that factorizes over them.

    Raises:
        InvalidInput: if it does not.
    """
    if isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims:
        return distribution.base_dist
    problem = f"site {name!r} has a {type(distribution).__name__}, which does not factorize over dimensions"
    raise InvalidInput("--objective.free_bits_per", "dim", problem, "use group")


def probe(program: nn.Module, guide: nn.Module) -> tuple[Trace, Trace]:
    """Traces of a pair on two blank images, which show the kinds of distribution its sites have.

    Raises:
        InvalidInput: if the two do not fit together (``rehearse``).
    """
    like = next(program.parameters(), torch.empty(()))
    images = like.new_zeros(2, program.data_dim)
    rehearse(program, guide, images)
    with keyed_noise("probe", device=images.device), evaluation_mode(program, guide):
        return traces(program, guide, images, 2)


def require_reparameterized(guide: nn.Module, trace: Trace, argument: str, value: str, remedy: str) -> None:
    """Raise ``InvalidInput`` where no gradient passes the draws of one of the guide's sites."""
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and not site["fn"].has_rsample:
            problem = f"{type(guide).__name__} is not reparameterized at site {name!r} ({type(site['fn']).__name__})"
            raise InvalidInput(argument, value, problem, remedy)


def require_mean_field(program: nn.Module, guide: nn.Module, argument: str, value: str) -> None:
    """What an integrated divergence needs besides a formula for it.

    Raises:
        InvalidInput: for a guide that is not reparameterized (Pyro's ``TraceMeanField_ELBO`` would leave out the
            gradient of its draws without a word), or one that draws the latents in another order than the program: then
            KL(q(z_1 | x) || p(z_1 | z_2)) at a draw of z_2 is no part of the ELBO.
    """
    model, own = probe(program, guide)
    require_reparameterized(guide, own, argument, value, "use sampled divergences")
    orders = [[name for name in trace.nodes if name in program.latents] for trace in (model, own)]
    if orders[0] != orders[1]:
        problem = f"the program draws {', '.join(orders[0])} in this order, the guide {', '.join(orders[1])}"
        raise InvalidInput(argument, value, problem, "use sampled divergences")
