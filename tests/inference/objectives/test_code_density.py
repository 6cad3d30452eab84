from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from inference import Claim, fit
from inference.objectives import NegativeElbo
from inference.objectives.code_density import KEPT, CodeDensity
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal
from ppl_models.guides.code_normal import CodeNormal
from ppl_models.priors import MixtureOfNormals
from ppl_models.programs import VAE
from ppl_models.programs.autoencoder_density import AutoencoderDensity


def objective(corruption: float = 0.0, guide: type = CodeNormal, num_particles: int = 1) -> CodeDensity:
    torch.manual_seed(0)
    program = AutoencoderDensity(Autoencoder(6, 2, (8,), corruption=corruption), MixtureOfNormals(2, 3))
    own = guide(6, 2, (5,))
    own.bind(program)
    return CodeDensity(program, own, num_particles)


@pytest.fixture
def images() -> Tensor:
    """Pixels that copy their left neighbour nine times in ten."""
    first = torch.randint(0, 2, (200, 1))
    flips = torch.cumsum((torch.rand(200, 5) < 0.1).long(), -1)
    return torch.cat([first, (first + flips) % 2], -1).float()


def gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def rest(both: CodeDensity) -> list[nn.Parameter]:
    """Every parameter but the autoencoder's."""
    return [p for name, p in both.named_parameters() if ".autoencoder." not in name]


@pytest.mark.parametrize("guide", [CodeNormal, DiagonalNormal])
def test_the_autoencoders_gradient_is_that_of_the_reconstruction_error_alone(guide: type, images: Tensor) -> None:
    both = objective(guide=guide)
    net = both.program.autoencoder
    own = list(net.parameters())
    scaled = torch.sigmoid(net.decoder(net.encoder(images)))
    alone = gradients((images - scaled).square().sum(-1).mean(), own)
    assert all(g.abs().sum() > 0 for g in alone)
    torch.testing.assert_close(gradients(both(images), own), alone)


def test_the_rest_has_the_gradient_of_the_negative_elbo_alone(images: Tensor) -> None:
    both = objective(num_particles=3).eval()
    torch.manual_seed(5)
    found = gradients(both(images), rest(both))
    torch.manual_seed(5)
    alone = gradients(NegativeElbo(both.program, both.guide, 3)(images), rest(both))
    assert all(g.abs().sum() > 0 for g in alone)
    torch.testing.assert_close(found, alone)


def test_the_autoencoder_becomes_weight_for_weight_what_it_would_be_without_a_density(images: Tensor) -> None:
    both, alone = objective(), Autoencoder(6, 2, (8,))
    alone.load_state_dict(both.program.autoencoder.state_dict())
    together = torch.optim.AdamW(both.parameters(), lr=0.01)
    apart = torch.optim.AdamW(alone.parameters(), lr=0.01)
    for batch in images.split(20):
        for optimizer, loss in ((together, both(batch)), (apart, alone.squared_error(batch).mean())):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in alone.state_dict().items():
        assert torch.equal(both.program.autoencoder.state_dict()[name], value), name


def test_the_loss_is_the_sum_of_the_two(images: Tensor) -> None:
    both = objective().eval()
    torch.manual_seed(5)
    loss = both(images)
    torch.manual_seed(5)
    bound = NegativeElbo(both.program, both.guide)(images)
    error = (images - both.program.reconstruct(images)).square().sum(-1).mean()
    torch.testing.assert_close(loss, error + bound)


def test_the_density_is_fitted_to_codes_of_clean_images(images: Tensor) -> None:
    both = objective(corruption=0.9)
    seen: list[Tensor] = []
    both.program.autoencoder.encoder.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    both(images)
    corrupted = [x for x in seen if not torch.equal(x, images)]
    assert len(corrupted) == 1, "the reconstruction's alone"
    assert len(seen) > 1


def test_center_and_spread_follow_the_codes_in_training_only(images: Tensor) -> None:
    both = objective()
    codes = both.program.autoencoder.encode(images).detach()
    both.eval()(images)
    assert both.program.center.tolist() == [0, 0]
    assert both.program.spread.tolist() == [1, 1]
    both.train()(images)
    assert KEPT == 0.99
    torch.testing.assert_close(both.program.center, 0.01 * codes.mean(0))
    torch.testing.assert_close(both.program.spread, (0.99 + 0.01 * codes.var(0, correction=0)).sqrt())


def test_the_autoencoder_is_trainable_again_after_a_call_that_failed(images: Tensor) -> None:
    both = objective()
    both(images)
    assert all(p.requires_grad for p in both.parameters())
    with pytest.raises(RuntimeError):
        both.eval()(images[:, :3])
    assert all(p.requires_grad for p in both.parameters())


def test_fit_moves_every_part_and_keeps_the_epoch_of_the_best_bound(images: Tensor) -> None:
    both = objective(corruption=0.2)
    before = {name: value.clone() for name, value in both.state_dict().items()}
    history = fit(both, images, partial(torch.optim.Adam, lr=0.01), valid=images, epochs=15, progress=False)
    after = both.state_dict()
    assert [name for name in before if torch.equal(after[name], before[name])] == []
    assert history.records[-1]["valid_claim"] == Claim.LOWER_BOUND.value
    assert history.records[-1]["valid_estimator"].startswith("elbo:")
    assert history.best_value > history.records[0]["valid_log_evidence"] + 0.5
    assert {name.split(".")[0] for name in after} == {"program", "guide"}, "no part is saved twice"


def test_pairs_that_it_cannot_train_are_refused() -> None:
    with pytest.raises(NotADensityError, match="code-density"):
        CodeDensity(NotADensity(Autoencoder(6, 2)), None)
    with pytest.raises(InvalidInput, match=r"--objective 'code-density': VAE has no autoencoder.*autoencoder_gmm"):
        CodeDensity(VAE(6, 2), DiagonalNormal(6, 2))
    with pytest.raises(InvalidInput, match="no guide"):
        CodeDensity(AutoencoderDensity(Autoencoder(6, 2)), None)
    with pytest.raises(InvalidInput, match="num_particles"):
        objective(num_particles=0)
