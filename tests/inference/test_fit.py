from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from inference import Claim, fit
from inference.estimators import Elbo, Exact, ImportanceWeighted
from inference.loop import NonFiniteLossError
from inference.monitor import Monitor, default_monitor
from inference.objectives import NegativeElbo, NegativeLogLikelihood, ReconstructionError
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal, Guide
from ppl_models.program import TractableProgram
from ppl_models.programs import MADE, VAE, IndependentPixels

Adam = partial(torch.optim.Adam, lr=0.01)


@pytest.fixture
def images() -> Tensor:
    """Pixels that copy their left neighbour nine times in ten."""
    first = torch.randint(0, 2, (300, 1))
    flips = torch.cumsum((torch.rand(300, 5) < 0.1).long(), -1)
    return torch.cat([first, (first + flips) % 2], -1).float()


def vae_objective() -> NegativeElbo:
    torch.manual_seed(0)
    return NegativeElbo(VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,)))


def test_independent_pixels_reach_their_closed_form_optimum(images: Tensor) -> None:
    program = IndependentPixels(6)
    fit(NegativeLogLikelihood(program), images, partial(torch.optim.Adam, lr=0.05), epochs=120, progress=False)
    # Adam's steps stay near 0.05 in log-odds, which is up to 0.0125 in a probability of one half.
    torch.testing.assert_close(torch.sigmoid(program.pixel_parameters[:, 0]), images.mean(0), atol=0.01, rtol=0)


def test_made_comes_near_the_entropy_of_the_source(images: Tensor) -> None:
    program = MADE(6, (32,), direct=True)
    history = fit(NegativeLogLikelihood(program), images, Adam, valid=images, epochs=40, progress=False)
    # ln 2 for the first pixel and a binary entropy for each of five flips; 300 images know it to about 0.1 nats.
    entropy = math.log(2) - 5 * (0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert -history.best_value == pytest.approx(entropy, abs=0.25)
    assert history.records[-1]["valid_claim"] == "EXACT"


@pytest.mark.parametrize("kind", ["objective", "pyro"])
def test_every_parameter_of_a_pair_moves(kind: str, images: Tensor) -> None:
    objective = vae_objective()
    module = objective if kind == "objective" else Trace_ELBO()(objective.program, objective.guide)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    fit(module, images, Adam, epochs=2, progress=False)
    after = objective.state_dict()
    assert [name for name, _ in objective.named_parameters() if torch.equal(after[name], before[name])] == []


class Scripted(Monitor):
    """A monitor that says what it is told."""

    name, claim = "scripted", Claim.EXACT

    def __init__(self, images: Tensor, values: list[float]) -> None:
        super().__init__(images)
        self.values, self.seen = iter(values), []

    def score(self, images: Tensor, number: int) -> Tensor:
        return images.new_zeros(len(images))

    def __call__(self, *modules: nn.Module | None) -> float:
        self.seen.append({name: value.clone() for name, value in modules[0].state_dict().items()})
        return next(self.values)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_best_weights_on_validation_are_kept_and_patience_stops(average: float, images: Tensor) -> None:
    objective = vae_objective()
    monitor = Scripted(images, [-3.0, -1.0, -2.0, -2.0, -2.0])
    history = fit(
        objective, images, Adam, valid=images, epochs=50, patience=3, average=average, monitor=monitor, progress=False
    )
    assert (history.best_epoch, history.best_value, history.stopped) == (2, -1.0, "patience")
    assert len(history.records) == 5
    for name, value in objective.state_dict().items():
        assert torch.equal(value, monitor.seen[1][name])


def test_the_average_is_the_weighted_sum_of_all_weights(images: Tensor) -> None:
    from inference.averaging import WeightAverage

    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, 0.5)
    expected = module.weight.item()
    for step, value in enumerate((1.0, 5.0, -2.0), 1):
        module.weight.data.fill_(value)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    with average.applied():
        assert module.weight.item() == pytest.approx(expected)
    assert module.weight.item() == -2.0


def test_the_averaged_weights_are_what_is_validated_and_kept(images: Tensor) -> None:
    seen = []
    for average in (0.0, 0.9):
        objective, monitor = vae_objective(), Scripted(images, [-3.0, -2.0, -1.0])
        fit(objective, images, Adam, valid=images, epochs=3, average=average, monitor=monitor, progress=False)
        seen.append(monitor.seen)
    # The raw weights go the same way in both runs; only the average can differ.
    assert not any(torch.equal(seen[0][e][key], seen[1][e][key]) for e in range(3) for key in seen[0][0])


def test_the_default_monitor_scores_the_validation_images(images: Tensor) -> None:
    program, valid = MADE(6, (32,)), 1 - images[:40]
    history = fit(NegativeLogLikelihood(program), images, Adam, valid=valid, epochs=3, progress=False)
    assert history.best_value == pytest.approx(program.eval().log_prob(valid).mean().item(), rel=1e-5)
    assert history.best_value != pytest.approx(program.log_prob(images).mean().item(), rel=1e-3)


class Sampled(DiagonalNormal):
    """Draws that no gradient passes."""

    def posterior(self, x: Tensor) -> object:
        base = super().posterior(x).base_dist
        return pyro.distributions.Normal(base.loc, base.scale).has_rsample_(False).to_event(1)


def test_a_guide_without_reparameterization_is_trained_by_its_sampled_divergence() -> None:
    assert type(NegativeElbo(VAE(6, 2), DiagonalNormal(6, 2)).elbo) is TraceMeanField_ELBO
    assert type(NegativeElbo(VAE(6, 2), Sampled(6, 2)).elbo) is Trace_ELBO


def test_a_validation_value_that_is_not_a_number_stops_training(images: Tensor) -> None:
    monitor = Scripted(images, [-3.0, math.nan])
    with pytest.raises(NonFiniteLossError, match="validation scripted is NaN at epoch 2"):
        fit(vae_objective(), images, Adam, valid=images, epochs=3, monitor=monitor, progress=False)


class Stop(Exception):
    """Stands for the kill of a process."""


def test_a_resumed_run_equals_the_uninterrupted_one(
    tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.loop.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    settings = {
        "valid": images[:50], "epochs": 8, "patience": 6, "average": 0.9, "progress": False,
        "scheduler": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 - e / 10),
    }  # fmt: skip
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = vae_objective()
    expected = fit(whole, images, Adam, folder=tmp_path / "whole", **settings)

    class Killed(type(default_monitor(whole.program, whole.guide, images[:50], 0))):
        def __call__(self, *modules: nn.Module | None) -> float:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 5:
                raise Stop
            return super().__call__(*modules)

    parts = vae_objective()
    monitor = Killed(images[:50], parts.program, parts.guide, 0)
    with pytest.raises(Stop):
        fit(parts, images, Adam, folder=tmp_path / "parts", monitor=monitor, **settings)
    # A line of an epoch that no checkpoint knows of, cut off in the middle of writing, as a kill leaves it.
    with (tmp_path / "parts" / "history.jsonl").open("a") as file:
        file.write('{"epoch": 5, "upd')
    parts = vae_objective()
    found = fit(parts, images, Adam, folder=tmp_path / "parts", resume=True, **settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], value), name
    assert (found.best_epoch, found.best_value) == (expected.best_epoch, expected.best_value)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert [line["train_loss"] for line in lines] == [record["train_loss"] for record in expected.records]


class Breaking(Guide):
    """A guide whose scale becomes NaN at its third call in training."""

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim)
        self.inner, self.calls = DiagonalNormal(data_dim, latent_dim, (4,)), 0

    def posterior(self, x: Tensor) -> object:
        parameters = self.inner.encode(x)
        if self.training:
            self.calls += 1
            parameters = parameters * (torch.nan if self.calls >= 3 else 1.0)
        return self.inner.family(parameters)


def test_a_loss_that_is_not_finite_names_epoch_batch_and_site(images: Tensor) -> None:
    objective = NegativeElbo(VAE(6, 2, (8,)), Breaking(6, 2), kl="sampled")
    where = "epoch 1, batch 2: site 'z' of the guide"
    with pytest.raises(NonFiniteLossError, match=where):
        fit(objective, images, Adam, batch_size=50, progress=False)


def test_training_leaves_the_users_random_state_alone(images: Tensor) -> None:
    objective = vae_objective()
    before = torch.get_rng_state()
    fit(objective, images, Adam, epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(images: Tensor) -> None:
    states = []
    for seed in (0, 0, 1):
        objective = vae_objective()
        fit(objective, images, Adam, epochs=2, seed=seed, progress=False)
        states.append(objective.program.decoder[0].weight)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_gradients_are_clipped_to_the_norm(images: Tensor) -> None:
    program = IndependentPixels(6)
    sgd = partial(torch.optim.SGD, lr=1.0)
    fit(NegativeLogLikelihood(program), images, sgd, epochs=1, batch_size=300, clip_norm=0.01, progress=False)
    assert program.pixel_parameters.norm().item() == pytest.approx(0.01, rel=1e-3)


class Flat(Guide):
    """Forgets to_event: batch shape (N, L), event shape ()."""

    def posterior(self, x: Tensor) -> object:
        return pyro.distributions.Normal(x.new_zeros(len(x), self.latent_dim), 1.0)


class NotPyro(Guide):
    """Gives a torch distribution, which Pyro cannot sample."""

    def posterior(self, x: Tensor) -> object:
        return torch.distributions.Normal(x.new_zeros(len(x), self.latent_dim), 1.0)


class Misnamed(DiagonalNormal):
    """Samples a site the program does not have."""

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with pyro.plate("image", len(x)):
            return pyro.sample("w", self.posterior(x))


class Shared(DiagonalNormal):
    """Mixes the images: batch shape ()."""

    def posterior(self, x: Tensor) -> object:
        return self.family(self.encode(x).mean(0))


class PointMass(DiagonalNormal):
    """Has rsample and log_prob, and no density."""

    def posterior(self, x: Tensor) -> object:
        return pyro.distributions.Delta(self.encode(x)[:, :2]).to_event(1)


class Counts(DiagonalNormal):
    """Discrete where the prior is continuous."""

    def posterior(self, x: Tensor) -> object:
        return pyro.distributions.Poisson(self.encode(x)[:, :2].exp()).to_event(1)


class NoEvent(TractableProgram):
    """Forgets to_event: a number per pixel passes for log p(x)."""

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.logits = nn.Parameter(torch.zeros(data_dim))

    def distribution(self) -> object:
        return pyro.distributions.Bernoulli(logits=self.logits)


def test_a_program_whose_density_is_not_one_number_per_image_is_refused(images: Tensor) -> None:
    with pytest.raises(InvalidInput, match="to_event"):
        fit(NegativeLogLikelihood(NoEvent(6)), images, Adam, progress=False)
    with pytest.raises(InvalidInput, match="not one number per image"):
        Exact()(NoEvent(6), images)


@pytest.mark.parametrize(("guide", "kind"), [(PointMass(4, 2, (8,)), "a point mass"), (Counts(4, 2, (8,)), "discrete")])
def test_a_guide_that_is_no_density_earns_no_bound(guide: Guide, kind: str, four_pixel_images: Tensor) -> None:
    program = VAE(4, 2, (8,))
    for estimator in (Elbo(guide, 4), ImportanceWeighted(guide, 4)):
        with pytest.raises(InvalidInput, match=f"is {kind} at site 'z'.*no ELBO is a bound"):
            estimator(program, four_pixel_images)


MISFITS = [
    (Shared(6, 2), r"batch shape \(\)"),
    (PointMass(6, 2), "point mass"),
    (Counts(6, 2), "discrete"),
    (Flat(6, 2), r"event shape \(\).*to_event"),
    (NotPyro(6, 2), "give one of pyro.distributions"),
    (Misnamed(6, 2), r"misses latents \['z'\]"),
    (DiagonalNormal(6, 3), "DiagonalNormal does not fit"),
]


@pytest.mark.parametrize(("guide", "message"), MISFITS)
def test_a_guide_that_does_not_fit_is_refused_before_training(guide: Guide, message: str, images: Tensor) -> None:
    program = VAE(6, 2, (8,))
    with pytest.raises(InvalidInput, match=message):
        fit(NegativeElbo(program, guide, kl="sampled"), images, Adam, epochs=1, progress=False)


def test_grey_images_are_refused_by_a_binary_program(images: Tensor) -> None:
    with pytest.raises(InvalidInput, match="binarize"):
        fit(NegativeLogLikelihood(MADE(6)), images * 0.5, Adam, progress=False)


def test_objectives_refuse_what_they_cannot_train() -> None:
    baseline, vae = NotADensity(Autoencoder(6, 2)), VAE(6, 2)
    for build in (lambda: NegativeLogLikelihood(baseline), lambda: NegativeElbo(baseline, None)):
        with pytest.raises(NotADensityError):
            build()
    for build in (
        lambda: NegativeLogLikelihood(vae),
        lambda: NegativeElbo(vae, None),
        lambda: ReconstructionError(vae),
        lambda: NegativeElbo(vae, DiagonalNormal(6, 2), 0),
        lambda: NegativeElbo(vae, DiagonalNormal(6, 2), kl="guess"),
    ):
        with pytest.raises(InvalidInput):
            build()


def test_monitors_report_their_claim(images: Tensor, tiny_vae: VAE, tiny_guide: Guide, quadrature: Callable) -> None:
    x = images[:40, :4]
    elbo = default_monitor(tiny_vae, tiny_guide, x, 0)
    assert elbo.claim is Claim.LOWER_BOUND
    assert elbo() < quadrature(tiny_vae, x).mean().item()
    assert elbo() == elbo(), "the same noise at every epoch"
    baseline = default_monitor(NotADensity(Autoencoder(6, 2)), None, images, 0)
    assert baseline.claim is Claim.NONE
    assert default_monitor(MADE(6), None, images, 0).claim is Claim.EXACT


@pytest.mark.parametrize("kind", ["made", "vae"])
def test_mixed_precision_has_the_loss_of_float32_also_on_a_small_last_batch(kind: str, images: Tensor) -> None:
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        objective = NegativeLogLikelihood(MADE(6, (32,))) if kind == "made" else vae_objective()
        # At a learning rate of nearly zero the epoch's loss is that of the initial weights, last batch of 1 included.
        still = partial(torch.optim.SGD, lr=1e-12)
        history = fit(objective, images[:101], still, epochs=1, batch_size=20, precision=precision, progress=False)
        losses.append(history.records[0]["train_loss"])
        assert all(p.dtype == torch.float32 for p in objective.parameters())
    # bfloat16 keeps 8 bits: products are off by up to 1 in 256, their sums by less.
    assert losses[1] == pytest.approx(losses[0], rel=1 / 256)
