"""Whether a cure did what it is for in a run of its own, before anyone asks what that was worth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..data import ImageData
from ..estimators import evaluation_mode
from ..randomness import keyed_noise
from ..run import Run

# What a floor of a batch's rate may lose on all images: weights are averaged, batches are not all images.
SLACK = 0.1


@dataclass(frozen=True)
class Check:
    """A measured number against what the cure promises.

    Args:
        what: both, in words.
        value: as measured.
        bound: what it must reach.
        holds: whether it does.
    """

    what: str
    value: float
    bound: float
    holds: bool

    def as_json(self) -> dict[str, Any]:
        """The same for a file, where a number that is not finite is ``null``."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}


CureCheck = Callable[[Run, ImageData], Check]


def reaches(what: str, value: float, bound: float) -> Check:
    """A check that a value is at least its bound."""
    return Check(what, value, bound, value >= bound)


@torch.no_grad()
def rates(run: Run, x: Tensor) -> Tensor:
    """KL(q(z | x) || p(z)), integrated: x (N, D) -> (N,) nats."""
    with evaluation_mode(run.program, run.guide):
        return kl_divergence(run.guide.posterior(x), run.program.prior()).double()


def free_bits_hold(run: Run, data: ImageData) -> Check:
    """The mean rate of the training images is no less than the allowance at the end of training, groups or dimensions
    taken together."""
    options = run.config["objective_arguments"]
    dims = run.config["recipe_arguments"]["latent_dim"] if options["free_bits_per"] == "dim" else 1
    bound = (1 - SLACK) * options["free_bits"] * dims
    return reaches("rate of the training images, at least .9 of the free bits", rates_of_train(run, data), bound)


def bits_are_released(run: Run, data: ImageData) -> Check:
    """The allowance was 0 for the last updates, so that what was minimised at last is the negative ELBO."""
    options, updates = run.config["objective_arguments"], updates_of(run)
    what = "updates up to the weights that were kept, at least those after which no allowance is left"
    return reaches(what, float(updates), float(options["hold"] + options["release"]))


def warmed_up(run: Run, data: ImageData) -> Check:
    """The weight of the divergence was 1 for the last updates."""
    options, updates = run.config["objective_arguments"], updates_of(run)
    what = "updates up to the weights that were kept, at least those of the warm-up"
    return reaches(what, float(updates), float(options["delay"] + options["updates"]))


def batch_norm_floor(run: Run, data: ImageData) -> Check:
    """L gamma^2 / 2 nats: the floor of ``BatchNormMean`` in the mean over the training images."""
    gamma, dims = run.config["guide_arguments"]["gamma"], run.config["recipe_arguments"]["latent_dim"]
    what = "rate of the training images, at least .9 of the floor L gamma^2 / 2"
    return reaches(what, rates_of_train(run, data), (1 - SLACK) * dims * gamma**2 / 2)


def committed_rate(run: Run, data: ImageData) -> Check:
    """Every single image, of the test split too, pays the committed rate of every latent; to 1e-3 nats."""
    floor = run.config["guide_arguments"]["rate"] * run.config["recipe_arguments"]["latent_dim"]
    least = min(float(rates(run, data.split(name)).min()) for name in ("train", "test"))
    return reaches("least rate of any image, at least the committed one", least, floor - 1e-3)


@torch.no_grad()
def refinement_gains(run: Run, data: ImageData, num_draws: int = 16) -> Check:
    """The refined posterior has a higher ELBO than the encoder's answer it starts from, on validation images."""
    x, guide = data.split("valid"), run.guide
    with evaluation_mode(run.program, guide):
        refined, start = guide.posterior(x), guide.family(guide.encode(x))
        gain = _elbo(run, x, refined, num_draws) - _elbo(run, x, start, num_draws)
    return reaches("ELBO that the refinement gains, nats", float(gain.mean()), 0.0)


def _elbo(run: Run, x: Tensor, posterior: Any, num_draws: int) -> Tensor:
    with keyed_noise("refinement"):
        z = posterior.sample((num_draws,))
    likelihood = torch.stack([run.program.likelihood(each).log_prob(x) for each in z]).mean(0)
    return (likelihood - kl_divergence(posterior, run.program.prior())).double()


def rates_of_train(run: Run, data: ImageData) -> float:
    """The mean rate of the training images, nats."""
    return float(rates(run, data.split("train")).mean())


def updates_of(run: Run) -> int:
    """Updates up to the epoch whose weights the run has."""
    records = map(json.loads, (run.path / "history.jsonl").read_text().splitlines())
    return next(record["updates"] for record in records if record["epoch"] == run.epoch)
