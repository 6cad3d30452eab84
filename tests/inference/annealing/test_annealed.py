"""Annealed estimators against the closed form, quadrature and enumeration; and what their values may depend on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from inference import Claim
from inference.annealing import Pass, make_bridge, run_pass, tune
from inference.estimators import (
    AnnealedImportance,
    AnnealingOptions,
    Estimate,
    ReverseAnnealedImportance,
    parse_estimator,
)
from inference.simulate import Simulated, simulate
from inference.weights import NonFiniteError
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal, Guide
from ppl_models.programs import MADE, VAE, DiscreteVAE, LinearVAE


def gaussian_log_density(program: LinearVAE, x: Tensor) -> Tensor:
    """log N(x; b, W W^T + sigma^2 I) by scipy."""
    weight, bias = program.decoder.weight.detach().numpy(), program.decoder.bias.detach().numpy()
    covariance = weight @ weight.T + math.exp(-1.0) * np.eye(len(bias))
    return torch.tensor(stats.multivariate_normal(bias, covariance).logpdf(x.numpy()))


class BadGuide(Guide):
    """The exact posterior with half its deviation, its mean off by two of them."""

    def __init__(self, program: LinearVAE) -> None:
        super().__init__(program.data_dim, program.latent_dim)
        self.bind(program)

    def posterior(self, x: Tensor) -> torch.distributions.Distribution:
        import pyro.distributions as dist

        exact = self.program.posterior(x)
        deviation = exact.stddev
        return dist.Normal(exact.mean + 2 * deviation, deviation / 2).to_event(1)


@pytest.mark.parametrize(
    ("start", "schedule"), [("prior", "sigmoid"), ("prior", "linear"), ("prior", "adaptive"), ("guide", "adaptive")]
)
def test_the_closed_form_lies_between_the_bounds(start: str, schedule: str, linear: LinearVAE) -> None:
    """In the mean over 40 images, within 4 standard errors of paired differences; and near, at 60 temperatures."""
    simulated = simulate(linear, 40, 3)
    exact = gaussian_log_density(linear, simulated.x)
    options = {"start": "prior" if start == "prior" else BadGuide(linear), "schedule": schedule}
    lower = AnnealedImportance(60, 8, **options)(linear, simulated.x)
    upper = ReverseAnnealedImportance(60, 8, **options)(linear, simulated)
    assert (lower.claim, upper.claim) == (Claim.LOWER_BOUND, Claim.UPPER_BOUND)
    below, above = lower.values - exact, upper.values - exact
    assert below.mean() < 4 * below.std() / 40**0.5
    assert above.mean() > -4 * above.std() / 40**0.5
    assert below.mean() > -0.15
    assert above.mean() < 0.15
    assert (upper.values - lower.values).mean() > -0.02


@pytest.mark.parametrize("start", ["prior", "guide"])
@pytest.mark.parametrize(("reverse", "step"), [(False, 1.0), (True, 1.0), (False, 2.0), (True, 2.0)])
def test_weights_are_unbiased_for_p_and_their_inverses_for_1_over_p(
    start: str, reverse: bool, step: float, linear: LinearVAE
) -> None:
    """E[w] = p(x) over 20,000 chains of one image along three temperatures, and E[1/w] = 1/p(x) over as many that start
    at exact draws of p(z | x): within 4.5 standard errors, on fixed noise. Steps twice too long stay unbiased: what the
    Metropolis test is for. The pixels say less about z than the prior does, or 1/w had no variance."""
    with torch.no_grad():
        linear.decoder.weight.mul_(0.15)
    x, count = linear(size=1).detach(), 20_000
    bridge = make_bridge(linear, None if start == "prior" else WideGuide(linear), x)
    tuning = tune(bridge, ("pilot",), [0], 3, "sigmoid", 3)
    tuning = replace(tuning, log_steps=tuning.log_steps + math.log(step))
    u = linear.posterior(x).sample((count,)).detach() if reverse else bridge.draw(0, count).detach().unsqueeze(1)
    begun = Pass.begin(bridge.at(u))
    with torch.no_grad():
        log_w = run_pass(bridge, tuning, begun, ("chains",), [0], 3, reverse=reverse).log_weight[:, 0]
    ratio = (log_w - gaussian_log_density(linear, x)).exp()
    ratio = 1 / ratio if reverse else ratio
    assert ratio.std() > 0.02, "weights must vary"
    assert abs(ratio.mean().item() - 1) < 4.5 * ratio.std().item() / count**0.5


class WideGuide(BadGuide):
    """Twice the exact deviation, the mean off by half of it: weights with finite variance in both directions."""

    def posterior(self, x: Tensor) -> torch.distributions.Distribution:
        import pyro.distributions as dist

        exact = self.program.posterior(x)
        return dist.Normal(exact.mean + exact.stddev / 2, 1.3 * exact.stddev).to_event(1)


def test_quadrature_of_a_nonlinear_program(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, quadrature: Callable, four_pixel_images: Tensor
) -> None:
    truth = quadrature(tiny_vae, four_pixel_images)
    for start in ("prior", tiny_guide):
        found = AnnealedImportance(100, 16, start, num_leapfrog=5)(tiny_vae, four_pixel_images)
        assert found.values.dtype == torch.float32
        assert (found.values - truth).abs().max() < 0.2
        assert abs((found.values - truth).mean().item()) < 0.03
        assert (found.stderr > 0).all()


def test_one_temperature_is_importance_sampling_from_the_start(
    tiny_vae: VAE, quadrature: Callable, four_pixel_images: Tensor
) -> None:
    """T = 1 makes no move: K = 20,000 draws from the prior. The truth lies within 4.5 of the stated standard errors."""
    found = AnnealedImportance(1, 20_000)(tiny_vae, four_pixel_images)
    truth = quadrature(tiny_vae, four_pixel_images)
    assert ((found.values - truth).abs() < 4.5 * found.stderr).all()
    assert found.diagnostics["acceptance"].abs().max() == 0


def test_standard_errors_are_those_of_repeated_runs(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    """9,600 chains of one image as 300 runs of 32, which know a deviation to 4%."""
    estimator = AnnealedImportance(5, 9600)
    with torch.no_grad():
        log_w, _ = estimator.log_weights(tiny_vae, four_pixel_images[6:7], [6])
    found = estimator.summary(log_w.view(32, 300), Claim.LOWER_BOUND, {})
    assert found.stderr.square().mean().sqrt().item() == pytest.approx(found.values.std().item(), rel=0.2)
    assert AnnealedImportance(2, 1)(tiny_vae, four_pixel_images[:3]).stderr.isnan().all()


def test_discrete_latents_beside_continuous_ones(switched, three_pixel_images: Tensor) -> None:
    """Three modes, one per value of c, between which no chain moves: weights vary, and K = 500 average them."""
    x = three_pixel_images[[0, 3, 5]]
    check_truth(AnnealedImportance(8, 500, num_leapfrog=2)(switched, x), switched.truth(x))
    simulated = simulate(switched, 30, 0)
    assert set(simulated.latents) == {"c", "z"}
    check_above(ReverseAnnealedImportance(20, 4, num_leapfrog=2)(switched, simulated), switched.truth(simulated.x))


def test_latents_whose_support_ends(rates, three_pixel_images: Tensor) -> None:
    x = three_pixel_images[[0, 3, 5]]
    check_truth(AnnealedImportance(8, 500, num_leapfrog=2)(rates, x), rates.truth(x))
    simulated = simulate(rates, 30, 0)
    check_above(ReverseAnnealedImportance(20, 4, num_leapfrog=2)(rates, simulated), rates.truth(simulated.x))


def check_truth(found: Estimate, truth: np.ndarray) -> None:
    """Within 4.5 of the stated standard errors of every image, which are small."""
    assert (found.stderr < 0.06).all()
    assert (np.abs(found.values.numpy() - truth) < 4.5 * found.stderr.numpy()).all()


def check_above(found: Estimate, truth: np.ndarray) -> None:
    """The mean over images is above the truth but for 4 standard errors, and near."""
    above = found.values.double().numpy() - truth
    assert above.mean() > -4 * above.std() / len(above) ** 0.5
    assert above.mean() < 0.3


def test_more_temperatures_narrow_the_sandwich(linear: LinearVAE) -> None:
    simulated = simulate(linear, 30, 0)
    widths = []
    for number in (3, 10, 40):
        lower = AnnealedImportance(number, 4, schedule="linear", num_leapfrog=4)(linear, simulated.x).values
        upper = ReverseAnnealedImportance(number, 4, schedule="linear", num_leapfrog=4)(linear, simulated).values
        widths.append((upper - lower).mean().item())
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


# ---- what a value may depend on


def test_a_value_does_not_depend_on_the_rest_of_the_batch(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    """To the bit, in single precision, for batches of any size and order, over several blocks."""
    estimator, x = AnnealedImportance(20, 3, max_elements=8 * 16 * 5, num_leapfrog=3), four_pixel_images
    together = estimator(tiny_vae, x).values
    assert estimator.layout(tiny_vae, x)[1] == 5, "five places to a block"
    alone = [estimator(tiny_vae, x[i : i + 1], [i]).values for i in range(0, 16, 3)]
    assert torch.equal(together[::3], torch.cat(alone))
    order = torch.randperm(16)
    assert torch.equal(estimator(tiny_vae, x[order], order.tolist()).values, together[order])


def test_a_reverse_value_does_not_depend_on_the_rest_either(tiny_vae: VAE) -> None:
    simulated = simulate(tiny_vae, 9, 0)
    estimator = ReverseAnnealedImportance(20, 3, max_elements=8 * 16 * 4, num_leapfrog=3)
    together = estimator(tiny_vae, simulated).values
    for i in (0, 5, 8):
        alone = Simulated(simulated.x[i : i + 1], {"z": simulated.latents["z"][i : i + 1]})
        assert torch.equal(estimator(tiny_vae, alone, [i]).values, together[i : i + 1])


def test_a_value_does_not_depend_on_the_chunk(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    """In double precision, where rounding flips no Metropolis test. A last digit grows along the chains, whose steps
    are near the longest stable ones, to some 1e-5; chains of other noise differ by tenths."""
    program, x = tiny_vae.double(), four_pixel_images[:8].double()
    values = [
        AnnealedImportance(10, 3, max_elements=8 * rows, num_leapfrog=3)(program, x).values
        for rows in (16, 16 * 3, 16 * 100)
    ]
    for other in values[1:]:
        torch.testing.assert_close(other, values[0], rtol=0, atol=1e-3)


def test_chains_are_exactly_as_many_as_asked(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    estimator = AnnealedImportance(3, 37, max_elements=8 * 10, num_leapfrog=2)
    log_w, _ = estimator.log_weights(tiny_vae, four_pixel_images[:2], [0, 1])
    assert log_w.shape == (37, 2)
    assert len(log_w[:, 0].unique()) == 37
    assert not log_w.isnan().any()


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    x = four_pixel_images[:4]
    first = AnnealedImportance(10, 4, num_leapfrog=2, seed=1)(tiny_vae, x)
    torch.manual_seed(99)
    again = AnnealedImportance(10, 4, num_leapfrog=2, seed=1)(tiny_vae, x)
    assert torch.equal(first.values, again.values)
    assert (AnnealedImportance(10, 4, num_leapfrog=2, seed=2)(tiny_vae, x).values != first.values).all()


def test_global_state_is_left_alone(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    tiny_vae.train()
    before = torch.get_rng_state()
    estimate = AnnealedImportance(5, 4)(tiny_vae, four_pixel_images)
    assert torch.equal(torch.get_rng_state(), before)
    assert tiny_vae.training
    assert all(p.requires_grad and p.grad is None for p in tiny_vae.parameters())
    assert not estimate.values.requires_grad


def test_step_sizes_come_from_a_pilot_and_know_nothing_of_the_counted_chains(
    tiny_vae: VAE, four_pixel_images: Tensor
) -> None:
    """Other counted chains, fewer or backwards, and the same steps to the bit: they cannot have looked."""
    few, many = (AnnealedImportance(20, k, num_leapfrog=3)(tiny_vae, four_pixel_images) for k in (2, 8))
    simulated = Simulated(four_pixel_images, {"z": torch.randn(16, 1)})
    backwards = ReverseAnnealedImportance(20, 8, num_leapfrog=3)(tiny_vae, simulated)
    assert torch.equal(few.diagnostics["step_size"], many.diagnostics["step_size"])
    assert torch.equal(few.diagnostics["step_size"], backwards.diagnostics["step_size"])
    assert (few.diagnostics["acceptance"] != many.diagnostics["acceptance"]).any()
    assert (few.values != many.values).all()


def test_the_tuned_steps_are_accepted_as_often_as_meant(linear: LinearVAE) -> None:
    x = linear(size=20).detach()
    for start in ("prior", BadGuide(linear)):
        found = AnnealedImportance(100, 8, start)(linear, x)
        assert found.diagnostics["acceptance"].mean().item() == pytest.approx(0.65, abs=0.12)


# ---- interrupted and resumed


class Stop(Exception):
    pass


@pytest.mark.parametrize("calls", [300, 400, 800])
def test_a_resumed_estimate_equals_the_uninterrupted_one(
    calls: int, tiny_vae: VAE, four_pixel_images: Tensor, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the counted passes of the first block's two groups of chains, and in the second block."""
    monkeypatch.setattr("inference.annealing.state.INTERVAL", 0.0)
    x, options = four_pixel_images[:2], {"num_leapfrog": 2, "max_elements": 8 * 16 * 8}
    expected = AnnealedImportance(100, 130, **options)(tiny_vae, x)
    path, count = tmp_path / "ais.state", 0

    def stop(module, inputs, output) -> None:
        nonlocal count
        count += 1
        if count == calls:
            raise Stop

    handle = tiny_vae.decoder.register_forward_hook(stop)
    resumable = AnnealedImportance(100, 130, **options, state_path=path)
    with pytest.raises(Stop):
        resumable(tiny_vae, x)
    assert path.is_file()
    counted, count = count, calls  # no stop any more
    found = resumable(tiny_vae, x)
    handle.remove()
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.stderr, expected.stderr)
    for name, values in expected.diagnostics.items():
        assert torch.equal(found.diagnostics[name], values) or values.isnan().all()
    assert not path.exists()
    assert list(tmp_path.iterdir()) == []
    total = 0

    def tally(module, inputs, output) -> None:
        nonlocal total
        total += 1

    handle = tiny_vae.decoder.register_forward_hook(tally)
    AnnealedImportance(100, 130, **options)(tiny_vae, x)
    handle.remove()
    assert count - calls < total - counted // 4, "what was done is not done again"


def test_a_state_of_other_numbers_is_not_continued(
    tiny_vae: VAE, four_pixel_images: Tensor, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.annealing.state.INTERVAL", 0.0)
    path, x = tmp_path / "ais.state", four_pixel_images[:4]
    monkeypatch.setattr("inference.annealing.state.StateFile.remove", lambda self: None)
    AnnealedImportance(40, 4, num_leapfrog=2, state_path=path)(tiny_vae, x)
    assert path.is_file()
    for change in ({"seed": 1}, {"num_leapfrog": 3}, {"schedule": "linear"}):
        options = {"num_leapfrog": 2, **change}
        expected = AnnealedImportance(40, 4, **options)(tiny_vae, x)
        found = AnnealedImportance(40, 4, **options, state_path=path)(tiny_vae, x)
        assert torch.equal(found.values, expected.values)
    with torch.no_grad():
        tiny_vae.decoder[0].bias += 0.5
    expected = AnnealedImportance(40, 4, num_leapfrog=2)(tiny_vae, x)
    again = AnnealedImportance(40, 4, num_leapfrog=2, state_path=path)
    assert torch.equal(again(tiny_vae, x).values, expected.values)
    path.write_bytes(b"cut off")
    assert torch.equal(again(tiny_vae, x).values, expected.values)


# ---- refusals


def test_what_cannot_be_annealed_is_refused(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    with pytest.raises(InvalidInput, match=r"MADE.*no latents.*use exact"):
        AnnealedImportance(3)(MADE(4, (5,)), four_pixel_images)
    with pytest.raises(InvalidInput, match=r"DiscreteVAE.*use enumerate"):
        AnnealedImportance(3)(DiscreteVAE(4, 3, (5,)), four_pixel_images)
    with pytest.raises(NotADensityError, match="does not sum to one"):
        AnnealedImportance(3)(NotADensity(Autoencoder(4, 2, (8,))), four_pixel_images)
    with pytest.raises(InvalidInput, match="binarize"):
        AnnealedImportance(3)(tiny_vae, four_pixel_images + 0.5)
    for options in ({"num_temperatures": 0}, {"num_chains": 0}, {"num_leapfrog": 0}):
        with pytest.raises(InvalidInput, match="at least 1"):
            AnnealedImportance(**{"num_temperatures": 3, **options})
    with pytest.raises(InvalidInput, match="did you mean sigmoid"):
        AnnealedImportance(3, schedule="sigmod")
    with pytest.raises(InvalidInput, match="neither the prior nor a guide"):
        AnnealedImportance(3, start="posterior")


def test_options_of_the_command_line_are_refused_by_name(tiny_vae: VAE) -> None:
    for option, value, words in (
        ("schedule", "sigmod", "--schedule.*did you mean sigmoid"),
        ("start", "posterior", "--start.*known: guide, prior"),
        ("chains", 0, "--chains.*at least 1"),
        ("simulated", 0, "--simulated.*at least 1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            AnnealingOptions(**{option: value})
    with pytest.raises(InvalidInput, match=r"--start 'guide'.*VAE has no guide"):
        parse_estimator("ais:3", tiny_vae, None, annealing=AnnealingOptions(start="guide"))


def test_an_upper_bound_on_given_images_does_not_exist(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    with pytest.raises(InvalidInput, match=r"on given images does not exist.*exact draw of p\(z \| x\).*simulate"):
        ReverseAnnealedImportance(3)(tiny_vae, four_pixel_images)
    with pytest.raises(InvalidInput, match=r"lacks latents \['z'\]"):
        ReverseAnnealedImportance(3)(tiny_vae, Simulated(four_pixel_images, {}))


class Broken(VAE):
    """Its density is NaN where the image is all ones."""

    def likelihood(self, z: Tensor):
        import pyro.distributions as dist

        inner = super().likelihood(z)

        class Likelihood(dist.TorchDistribution):
            batch_shape, event_shape, arg_constraints = inner.batch_shape, inner.event_shape, {}

            def log_prob(self, x: Tensor) -> Tensor:
                return torch.where(x.sum(-1) == 4, torch.nan, inner.log_prob(x))

        return Likelihood(validate_args=False)


def test_weights_that_are_not_numbers_name_image_and_site(four_pixel_images: Tensor) -> None:
    with pytest.raises(NonFiniteError, match=r"ais:3.*image 115.*site 'x'"):
        AnnealedImportance(3, 4)(Broken(4, 1, (5,)), four_pixel_images, range(100, 116))
