"""Posterior collapse as it happens: rate and active units after every epoch, and one warning that names the cures."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence
from tqdm import tqdm

from ppl_models.guides import Guide
from ppl_models.program import LatentProgram

from .claims import Claim
from .estimators.base import evaluation_mode
from .measures import THRESHOLD
from .measures.activity import variance_of_means
from .measures.information import evenly
from .objectives.schedules import Schedule
from .objectives.terms import log_prob
from .randomness import keyed_noise
from .weights import traces

# Below this rate the latents carry next to nothing: information cannot exceed the rate.
LEAST_RATE = 0.5
# No divergence is below 0, and the noise of an estimate is not as large as this: the guide's log-density is wrong.
IMPOSSIBLE_RATE = -5.0
# Before so many epochs and updates a rate may be low because training has only begun.
LEAST_EPOCHS, LEAST_UPDATES = 3, 300
# Images looked at: a twentieth of those that an epoch learns from, and some even of a small set.
SHARE, FEWEST, MOST = 20, 50, 1000
# Draws of z per image, where the rate or the posterior mean has no formula.
DRAWS = 16

CURES = (
    "free bits that are taken back (--objective released), a warm-up of the KL (--objective elbo --objective.schedule "
    "linear), free bits (--objective elbo --objective.free_bits 0.1 --objective.free_bits_per dim), --step aggressive, "
    "--guide DeltaNormal, BatchNormMean or SemiAmortized, --objective mmd or iwae, --recipe skip_vae, --recipe.prior "
    "vamp:500, or a weaker decoder; see docs/collapse.md"
)


class CollapseMonitor:
    """Rate E[KL(q(z | x) || p(z))], nats, and active units (Var_x[E_q(z_l | x)] >= .01, Burda et al. 2016, 1509.00519)
    on some validation images, by formula where there is one and else from 16 draws, with the same noise every time.

    It looks at evenly spaced images, a twentieth as many as there are for training and at least 50, and never decodes
    them for a pair with one latent vector: next to an epoch it costs nearly nothing.

    Args:
        program, guide: the pair.
        images: validation images (N, D).
        num_train: how many images an epoch learns from.
        seed: of the noise.
    """

    def __init__(self, program: nn.Module, guide: nn.Module, images: Tensor, num_train: int, seed: int) -> None:
        wanted = min(MOST, max(FEWEST, num_train // SHARE))
        chosen = torch.as_tensor(evenly(len(images), wanted), device=images.device)
        self.program, self.guide, self.images, self.seed = program, guide, images[chosen], seed

    def __call__(self) -> dict[str, float | int | str]:
        """``rate`` with its claim and ``active_units``, for an epoch's record; empty where the rate is not finite."""
        single = isinstance(self.guide, Guide) and isinstance(self.program, LatentProgram)
        with (
            keyed_noise(self.seed, "collapse monitor", device=self.images.device),
            evaluation_mode(self.program, self.guide),
        ):
            rate, claim, variance = self.of_one_vector() if single else self.of_several_sites()
        if not math.isfinite(rate):
            return {}
        return {"rate": rate, "rate_claim": claim.value, "active_units": int((variance >= THRESHOLD).sum())}

    def after_epoch(
        self, record: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]], objective: nn.Module, bar: bool
    ) -> dict[str, Any]:
        """What to add to the record of an epoch; a warning that is due is told as well.

        Args:
            record, earlier: of this epoch and of those before.
            objective: whose schedules, if it has any, say whether the KL is still being warmed up.
            bar: whether a progress bar is shown.
        """
        found: dict[str, Any] = self()
        factors = [module.factor for module in objective.modules() if isinstance(module, Schedule)]
        earlier, record = list(earlier), {**record, **found}
        texts = {
            "rate_warning": impossible(record, earlier),
            "collapse_warning": warning(record, earlier, min(factors, default=1.0)),
        }
        for key, text in texts.items():
            if text:
                tell(text, bar)
                found[key] = text
        return found

    def of_one_vector(self) -> tuple[float, Claim, Tensor]:
        """Rate, whether it is integrated, and variance of posterior means (L,), without a decoder."""
        posterior, prior = self.guide.posterior(self.images), self.program.prior()
        z, claim = None, Claim.EXACT
        try:
            rate = kl_divergence(posterior, prior)
        except NotImplementedError:
            z, claim = posterior.sample((DRAWS,)), Claim.ESTIMATE
            rate = posterior.log_prob(z) - prior.log_prob(z)
        try:
            variance = variance_of_means(posterior.mean.double())[0]
        except NotImplementedError:
            variance = variance_from(posterior.sample((DRAWS,)) if z is None else z)
        return float(rate.double().mean()), claim, variance

    def of_several_sites(self) -> tuple[float, Claim, Tensor]:
        """The same from traces of program and guide."""
        model, own = traces(self.program, self.guide, self.images, DRAWS)
        rate, draws = 0.0, []
        for name in self.program.latents:
            terms = log_prob(own.nodes[name]).double() - log_prob(model.nodes[name]).double()
            rate += float(terms.mean())
            draws.append(own.nodes[name]["value"])
        return rate, Claim.ESTIMATE, variance_from(torch.cat(draws, -1))


def variance_from(draws: Tensor) -> Tensor:
    """Var_x of the means of draws (S, N, L), less what the noise of S draws adds to it: (L,)."""
    draws = draws.double()
    return variance_of_means(draws.mean(0))[0] - draws.var(0).mean(0) / len(draws)


def collapse_monitor(
    program: nn.Module | None, guide: nn.Module | None, images: Tensor | None, num_train: int, seed: int
) -> CollapseMonitor | None:
    """The monitor of a pair; ``None`` where there is nothing to watch: no latents, no guide that learns, or fewer than
    two validation images."""
    if images is None or len(images) < 2 or not getattr(program, "latents", ()):
        return None
    if guide is None or not any(True for _ in guide.parameters()):
        return None
    return CollapseMonitor(program, guide, images, num_train, seed)


def warning(record: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]], factor: float) -> str:
    """What is to be said after an epoch, once in a training; empty if nothing.

    Args:
        record: of the epoch, with ``rate``, its claim and ``active_units``.
        earlier: of the epochs before.
        factor: where the objective's schedule is now; below 1 the KL is still being warmed up, or free bits released.
    """
    begun = record["epoch"] >= LEAST_EPOCHS and record["updates"] >= LEAST_UPDATES
    low = IMPOSSIBLE_RATE <= record.get("rate", math.inf) < LEAST_RATE
    if not (begun and low and factor == 1) or any("collapse_warning" in one for one in earlier):
        return ""
    active = record["active_units"]
    return (
        f"posterior collapse: after epoch {record['epoch']} the rate is {record['rate']:.3f} nats per image "
        f"({record['rate_claim']}), below {LEAST_RATE:g}, with {active} active latent{'' if active == 1 else 's'}: "
        f"the program does without them. Cures: {CURES}"
    )


def impossible(record: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> str:
    """What is to be said, once, of a rate that no divergence can be: arguments as ``warning``; empty if nothing."""
    if record.get("rate", 0.0) >= IMPOSSIBLE_RATE or any("rate_warning" in one for one in earlier):
        return ""
    return (
        f"impossible rate: after epoch {record['epoch']} it is {record['rate']:.3f} nats per image "
        f"({record['rate_claim']}), and no divergence is negative: log q(z | x) has lost its digits, and its bounds "
        "are not to be trusted. Lower --learning-rate, or use a guide with fewer correlations, such as DiagonalNormal"
    )


def tell(text: str, bar: bool) -> None:
    """A line on standard error that does not break a progress bar; without a bar it goes to the log."""
    if bar:
        tqdm.write(text, file=sys.stderr)
    else:
        logging.getLogger("inference").warning(text)
