"""The named numbers of a pair: what is measured, what is claimed of it, what it means."""

from __future__ import annotations

import math

from torch import Tensor

from ..claims import Claim
from .aggregate import Aggregate
from .dataset import PerLatent
from .draws import Draws
from .table import Measure, averaged, missing


def all_measures(
    draws: Draws,
    found: Aggregate | str,
    latents: PerLatent,
    shuffled: Tensor,
    prior: Tensor,
    decoded: tuple[Tensor, Tensor, str],
    num_images: int,
    threshold: float,
) -> list[Measure]:
    """All measures, in the order of the file."""
    return [
        *rate_and_distortion(draws),
        *activity(latents, threshold),
        *information(found, num_images),
        *split(found),
        *sensitivity(draws, shuffled, prior, decoded),
    ]


def rate_and_distortion(draws: Draws) -> list[Measure]:
    """The rate-distortion point (Alemi et al. 2018) and the ELBO that it gives."""
    analytic = all(divergence.analytic for divergence in draws.divergences.values())
    rate = sum(divergence.values for divergence in draws.divergences.values())
    words = "KL(q(z | x) || p(z)), the rate: nats that the code costs"
    exact = analytic and bool((rate == rate[0]).all())  # a ladder's is integrated given a draw of the sites above
    measures = [
        averaged("rate", rate, Claim.EXACT if exact else Claim.ESTIMATE, words),
        averaged("distortion", -draws.log_likelihood, Claim.ESTIMATE, "-E_q[log p(x | z)], the distortion"),
        averaged("elbo", draws.elbo, Claim.LOWER_BOUND, "the ELBO at beta = 1, a bound on log p(x)"),
    ]
    if len(draws.divergences) > 1:
        for name, divergence in draws.divergences.items():
            measures.append(averaged(f"rate[{name}]", divergence.values, Claim.ESTIMATE, f"the rate of site {name}"))
    return measures


def activity(latents: PerLatent, threshold: float) -> list[Measure]:
    """Counts of active dimensions (Burda et al. 2016): at the threshold, and at the threshold on the prior's scale."""
    words = f"dimensions with Var_x[E_q(z_l | x)] >= {threshold:g}"
    return [
        Measure("active_units", int(latents.active.sum()), latents.claim, words, units="latents"),
        Measure(
            "active_units_scaled", int(latents.active_scaled.sum()), latents.claim,
            f"{words} Var_p[z_l]: the threshold on the scale of the prior", units="latents",
        ),
        Measure("num_latents", len(latents.sites), Claim.EXACT, "dimensions of all latent sites", units="latents"),
    ]  # fmt: skip


INFORMATION = {
    "information_empirical": "I_q(n; z): which of these N images z came from, at most ln N",
    "information_lower": "I_q(x; z) about an image of the population, bound from below: with the own image in q(z)",
    "information_upper": "I_q(x; z) about an image of the population, bound from above: without the own image in q(z)",
    "marginal_kl": "KL(q(z) || p(z)), q(z) the aggregate posterior of these N images",
    "total_correlation": "KL(q(z) || prod_l q(z_l)): how dependent the dimensions of z are over these N images",
    "marginal_kl_per_latent": "sum_l KL(q(z_l) || p(z_l)): the marginal divergence without the total correlation",
}


def information(found: Aggregate | str, num_images: int) -> list[Measure]:
    """The bracket of the mutual information, its cap, and the divergences of the aggregate posterior."""
    cap = Measure(
        "information_cap", math.log(num_images), Claim.EXACT, "ln N: no estimate from N images exceeds it from below",
        0.0, 0.0,
    )  # fmt: skip
    if isinstance(found, str):
        return [*(missing(name, words, found) for name, words in INFORMATION.items()), cap]
    values = {
        "information_empirical": (found.lower, Claim.ESTIMATE, ""),
        "information_lower": (found.lower, Claim.LOWER_BOUND, ""),
        "information_upper": (found.upper, Claim.UPPER_BOUND, ""),
        "marginal_kl": (found.marginal_kl, Claim.ESTIMATE, ""),
        "total_correlation": (found.total_correlation, Claim.ESTIMATE, found.reason),
    }
    by_latent = found.marginal_kl_latent
    reason = found.reason or ("" if by_latent is not None else "the prior does not factorize over dimensions")
    values["marginal_kl_per_latent"] = (None if by_latent is None else by_latent.sum(-1), Claim.ESTIMATE, reason)
    return [
        missing(name, INFORMATION[name], reason)
        if terms is None
        else averaged(name, terms, claim, INFORMATION[name], reason)
        for name, (terms, claim, reason) in values.items()
    ] + [cap]


def split(found: Aggregate | str) -> list[Measure]:
    """ELBO = E[log p(x | z)] - I_q(n; z) - KL(q(z) || p(z)), all terms at the same draws (Hoffman & Johnson 2016)."""
    words = {
        "split_log_likelihood": "E_q[log p(x | z)] at the draws of the split",
        "split_information": "I_q(n; z) at the draws of the split",
        "split_marginal_kl": "KL(q(z) || p(z)) at the draws of the split",
        "split_elbo": "the ELBO at the draws of the split: log-likelihood - information - marginal KL",
    }
    if isinstance(found, str):
        return [missing(name, meaning, found) for name, meaning in words.items()]
    terms = (found.log_likelihood, found.lower, found.marginal_kl, found.elbo)
    claims = (Claim.ESTIMATE, Claim.ESTIMATE, Claim.ESTIMATE, Claim.LOWER_BOUND)
    return [
        averaged(name, values, claim, meaning)
        for (name, meaning), values, claim in zip(words.items(), terms, claims, strict=True)
    ]


def sensitivity(draws: Draws, shuffled: Tensor, prior: Tensor, decoded: tuple[Tensor, Tensor, str]) -> list[Measure]:
    """What is lost when the decoder gets another z, and how well it reconstructs from its own."""
    accuracy, error, reason = decoded
    rate = sum(divergence.values for divergence in draws.divergences.values())
    own, estimate = draws.log_likelihood, Claim.ESTIMATE
    measures = [
        averaged("lost_shuffled", own - shuffled, estimate, "E_q[log p(x | z)] lost when z is that of another image"),
        averaged("lost_prior", own - prior, estimate, "E_q[log p(x | z)] lost when z is drawn from p(z)"),
        averaged("elbo_lost_prior", own - rate - prior, estimate, "ELBO lost when p(z) takes the place of the guide"),
    ]
    for name, values, meaning, why, units in (
        ("accuracy", accuracy, "share of pixels in which an image drawn from p(x | z) equals x", reason, "share"),
        ("reconstruction_error", error, "root mean square of x - E[x | z] over pixels", "", "grey levels"),
    ):
        if values.isnan().all():
            measures.append(missing(name, meaning, why or "the likelihood knows no formula for its mean"))
        else:
            measures.append(averaged(name, values[None], estimate, meaning, why, units))
    return measures
