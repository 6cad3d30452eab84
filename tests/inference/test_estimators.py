from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pyro import poutine
from torch import Tensor

from inference import Claim, log_weights
from inference.estimators import Elbo, Exact, ImportanceWeighted, parse_estimator
from inference.weights import NonFiniteError
from ppl_models import InvalidInput, NoExactEvidenceError, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal
from ppl_models.programs import MADE, VAE


def test_the_quadrature_used_as_truth_sums_to_one(
    tiny_vae: VAE, quadrature: Callable, four_pixel_images: Tensor
) -> None:
    assert quadrature(tiny_vae, four_pixel_images).exp().sum().item() == pytest.approx(1, abs=1e-8)


def test_the_elbo_lies_below_log_p_and_misses_it_by_the_divergence(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, quadrature: Callable, four_pixel_images: Tensor
) -> None:
    truth = quadrature(tiny_vae, four_pixel_images)
    estimate = Elbo(tiny_guide, 4000)(tiny_vae, four_pixel_images)
    assert estimate.claim is Claim.LOWER_BOUND
    assert (estimate.values <= truth + 4 * estimate.stderr).all()
    assert (estimate.values < truth - 4 * estimate.stderr).any(), "this guide is off: the gap must show"


def test_the_importance_weighted_bound_rises_to_log_p(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, quadrature: Callable, four_pixel_images: Tensor
) -> None:
    truth = quadrature(tiny_vae, four_pixel_images)
    means = []
    for particles, repeats in ((1, 25), (3, 25), (10, 25), (10_000, 1)):
        runs = [
            ImportanceWeighted(tiny_guide, particles, seed=100 + r)(tiny_vae, four_pixel_images).values
            for r in range(repeats)
        ]
        means.append(torch.stack(runs).mean().item())
    assert means == sorted(means)
    final = ImportanceWeighted(tiny_guide, 10_000, seed=7)(tiny_vae, four_pixel_images)
    assert (final.values - truth).abs().max() < 0.05
    assert abs(means[-1] - truth.mean().item()) < 0.05


def test_one_particle_has_the_elbo_as_its_mean_and_no_standard_error(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    x = four_pixel_images[[3, 9]]
    singles = torch.stack([ImportanceWeighted(tiny_guide, 1, seed=s)(tiny_vae, x).values for s in range(300)])
    elbo = Elbo(tiny_guide, 4000)(tiny_vae, x)
    error = (singles.var(0) / 300 + elbo.stderr**2).sqrt()
    assert ((singles.mean(0) - elbo.values).abs() < 4 * error).all()
    assert ImportanceWeighted(tiny_guide, 1)(tiny_vae, x).stderr.isnan().all()
    assert Elbo(tiny_guide, 1)(tiny_vae, x).stderr.isnan().all()


def test_standard_errors_are_those_of_repeated_runs(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    x = four_pixel_images[3:4]
    for kind in (Elbo, ImportanceWeighted):
        estimates = [kind(tiny_guide, 200, seed=s)(tiny_vae, x) for s in range(200)]
        spread = torch.stack([e.values for e in estimates]).std().item()
        stated = torch.stack([e.stderr for e in estimates]).mean().item()
        # 200 repeats know a standard deviation to 5%; four of those.
        assert stated == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("particles", [1, 7, 10, 23])
def test_k_is_exactly_k_when_it_is_no_multiple_of_the_chunk(
    particles: int, tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    seen: list[int] = []
    tiny_vae.decoder.register_forward_hook(lambda m, inputs, out: seen.append(out.shape[0]))
    ImportanceWeighted(tiny_guide, particles, max_elements=8 * 10)(tiny_vae, four_pixel_images[:2])
    assert sum(seen) == 2 * particles
    assert max(seen) <= 10


def test_a_value_does_not_depend_on_the_rest_of_the_batch(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    for estimator in (Elbo(tiny_guide, 5), ImportanceWeighted(tiny_guide, 50)):
        together = estimator(tiny_vae, four_pixel_images).values
        prefix = estimator(tiny_vae, four_pixel_images[:3]).values
        alone = torch.cat([estimator(tiny_vae, four_pixel_images[i : i + 1], [i]).values for i in range(16)])
        assert torch.equal(together[:3], prefix)
        assert torch.equal(together, alone)


def test_estimators_leave_random_state_modes_and_gradients_alone(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    tiny_vae.train()
    tiny_guide.eval()
    before = torch.get_rng_state()
    estimate = ImportanceWeighted(tiny_guide, 5)(tiny_vae, four_pixel_images)
    assert torch.equal(torch.get_rng_state(), before)
    assert tiny_vae.training
    assert not tiny_guide.training
    assert not estimate.values.requires_grad


def test_log_weights_are_those_of_arithmetic(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    torch.manual_seed(3)
    found = log_weights(tiny_vae, tiny_guide, four_pixel_images, 5)
    torch.manual_seed(3)
    parameters = tiny_guide.encode(four_pixel_images)
    mean, scale = parameters[:, :1], torch.nn.functional.softplus(parameters[:, 1:] + math.log(math.e - 1)) + 1e-5
    noise = torch.randn(5, 16, 1)
    z = mean + scale * noise
    log_q = (-0.5 * noise**2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
    log_prior = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)
    logits = tiny_vae.decoder(z)
    log_likelihood = (four_pixel_images * logits - torch.nn.functional.softplus(logits)).sum(-1)
    assert found.shape == (5, 16)
    torch.testing.assert_close(found, log_likelihood + log_prior - log_q)


def test_effective_sample_size_and_tail_of_known_weights() -> None:
    estimator = ImportanceWeighted(DiagonalNormal(4, 1), 4)
    found = estimator.summarize(torch.tensor([1.0, 1.0, 2.0, 4.0]).log().double())
    assert found["value"].item() == pytest.approx(math.log(2))
    assert found["ess"].item() == pytest.approx(64 / 22)
    assert found["pareto_k"].isnan(), "four weights have no tail"
    equal = estimator.summarize(torch.zeros(500, dtype=torch.float64))
    assert equal["ess"].item() == pytest.approx(500)
    assert equal["stderr"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shape", [0.3, 0.7, 1.2])
def test_the_pareto_shape_of_pareto_weights_is_found(shape: float) -> None:
    from inference.pareto import pareto_shape

    uniforms = torch.rand(40, 20_000, dtype=torch.float64)
    found = torch.stack([pareto_shape(-shape * u.log()) for u in uniforms])
    # Forty fits; the estimator is regularised towards 0.5 by ten pseudo-observations out of 430.
    expected = (shape * 424 + 0.5 * 10) / 434
    assert found.mean().item() == pytest.approx(expected, abs=4 * found.std().item() / 40**0.5 + 0.01)


def test_exact_is_the_programs_log_prob_in_chunks_of_any_size(four_pixel_images: Tensor) -> None:
    program = MADE(4, (8,))
    estimate = Exact(max_elements=8 * 5)(program, four_pixel_images)
    assert estimate.claim is Claim.EXACT
    assert estimate.stderr is None
    alone = torch.cat([program.log_prob(image) for image in four_pixel_images.split(1)])
    torch.testing.assert_close(estimate.values, alone)
    assert estimate.values.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_claimed_is_refused(
    tiny_vae: VAE, tiny_guide: DiagonalNormal, four_pixel_images: Tensor
) -> None:
    baseline = NotADensity(Autoencoder(4, 2, (8,)))
    for estimator in (Exact(), Elbo(tiny_guide, 2), ImportanceWeighted(tiny_guide, 2)):
        with pytest.raises(NotADensityError, match="does not sum to one"):
            estimator(baseline, four_pixel_images)
    with pytest.raises(NoExactEvidenceError, match="elbo:64"):
        Exact()(tiny_vae, four_pixel_images)
    with pytest.raises(InvalidInput, match="binarize"):
        Elbo(tiny_guide, 2)(tiny_vae, four_pixel_images + 0.5)
    for kind in (Elbo, ImportanceWeighted):
        with pytest.raises(InvalidInput, match="at least 1"):
            kind(tiny_guide, 0)
    with pytest.raises(InvalidInput, match="K >= 1"):
        log_weights(tiny_vae, tiny_guide, four_pixel_images, 0)


@pytest.mark.parametrize(
    "name", ["elbo:0", "iw:-3", "iw", "exact:5", "iw:abc", "iv:50", "elbo:", "iw:²", "elbo:99999999999"]
)
def test_unreadable_estimator_names_are_refused(name: str, tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    with pytest.raises(InvalidInput, match="--estimators"):
        parse_estimator(name, tiny_vae, tiny_guide)


def test_a_density_that_is_not_a_number_names_site_and_image(tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    x = torch.zeros(3, 4)
    x[2] = torch.nan
    with pytest.raises(NonFiniteError, match=r"site 'z'.*image 2"), torch.no_grad():
        import pyro

        with pyro.validation_enabled(False):
            log_weights(tiny_vae, tiny_guide, x, 2)


def test_a_program_whose_weights_are_not_numbers_is_not_scored(four_pixel_images: Tensor) -> None:
    program = MADE(4, (8,))
    program.net.layers[0].bias.data[:] = torch.nan
    with pytest.raises(NonFiniteError, match="exact of MADE is NaN at image 7"):
        Exact()(program, four_pixel_images[:1], [7])


def test_noise_differs_between_images_estimators_and_seeds(tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    same = torch.ones(2, 4)
    elbo = Elbo(tiny_guide, 20)(tiny_vae, same).values
    assert elbo[0] != elbo[1]
    weights = ImportanceWeighted(tiny_guide, 20).weights(tiny_vae, same[:1], 0)
    assert not torch.equal(weights, Elbo(tiny_guide, 20).weights(tiny_vae, same[:1], 0))
    assert not torch.equal(weights, ImportanceWeighted(tiny_guide, 20, seed=1).weights(tiny_vae, same[:1], 0))
    assert torch.equal(weights, ImportanceWeighted(tiny_guide, 20).weights(tiny_vae, same[:1], 0))


def test_a_guide_with_dropout_is_scored_in_evaluation_mode(tiny_vae: VAE, four_pixel_images: Tensor) -> None:
    guide = DiagonalNormal(4, 1, (8,))
    guide.encoder.insert(1, torch.nn.Dropout(0.5))
    expected = Elbo(guide.eval(), 4)(tiny_vae, four_pixel_images).values
    assert torch.equal(Elbo(guide.train(), 4)(tiny_vae, four_pixel_images).values, expected)
    assert guide.training


def test_weights_are_free_of_a_plates_scale_and_heed_a_mask(tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    x = torch.ones(3, 4)

    class Handled(VAE):
        handler: object

        def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
            with self.handler:
                return super().forward(x, size=size)

    program = Handled(4, 1, (8,))
    program.load_state_dict(tiny_vae.state_dict())
    found = []
    for handler in (poutine.scale(scale=1.0), poutine.scale(scale=7.0), poutine.mask(mask=torch.tensor(False))):
        program.handler = handler
        torch.manual_seed(0)
        found.append(log_weights(program, tiny_guide, x, 2))
    torch.testing.assert_close(found[0], found[1])
    torch.manual_seed(0)
    z = tiny_guide.posterior(x).sample((2,))
    torch.testing.assert_close(found[2], -tiny_guide.posterior(x).log_prob(z))


@pytest.mark.parametrize("lead", [100.0, 720.0, 735.0, 800.0, 5000.0])
def test_one_weight_ahead_of_all_others_is_the_worst_tail(lead: float) -> None:
    from inference.pareto import pareto_shape

    log_w = torch.randn(5000, dtype=torch.float64)
    log_w[17] += lead
    assert pareto_shape(log_w) > 0.7
    few = torch.zeros(1000, dtype=torch.float64)
    few[:3] = 50.0
    assert pareto_shape(few) == math.inf
    assert pareto_shape(torch.zeros(1000, dtype=torch.float64)) == -math.inf


def test_chunks_count_the_widest_layer() -> None:
    rows: list[int] = []
    program = MADE(4, (1000,), levels=8)
    program.net.layers[0].register_forward_hook(lambda m, i, out: rows.append(out.numel()))
    Exact(max_elements=5000)(program, torch.zeros(16, 4))
    assert sum(rows) == 16 * 1000
    assert max(rows) <= 5000


def test_careless_arguments_are_answered_in_one_line(tiny_vae: VAE, tiny_guide: DiagonalNormal) -> None:
    x = torch.zeros(2, 4)
    careless = [
        (lambda: Exact()(MADE(4), x.numpy()), "float tensors"),
        (lambda: Exact()(MADE(4), x.bool()), "float tensors"),
        (lambda: Exact()(MADE(4), x[:0]), "at least one"),
        (lambda: Elbo(None, 4), "needs a guide"),
        (lambda: Elbo(tiny_guide, 4)(MADE(4), x), "no latents"),
        (lambda: MADE(4, hidden=500), r"write for example \[500\]"),
    ]
    for call, message in careless:
        with pytest.raises(InvalidInput, match=message):
            call()
