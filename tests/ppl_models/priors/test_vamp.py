from __future__ import annotations

import copy

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.transforms import ConditionalAffineAutoregressive
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from inference.objectives import NegativeElbo
from ppl_models import InvalidInput
from ppl_models.guides import AmortizedGuide, DiagonalNormal, Guide
from ppl_models.priors import VampPrior
from ppl_models.programs import VAE

K, L, D = 5, 2, 6


def paired(levels: int = 2, components: int = K) -> tuple[VAE, DiagonalNormal]:
    """Bound, in float64, far from the first weights."""
    program = VAE(D, L, (5,), prior=VampPrior(L, D, components, levels), levels=levels).double()
    guide = DiagonalNormal(D, L, (5,), levels=levels).double()
    with torch.no_grad():
        for module in (program, guide):
            for parameter in module.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    guide.bind(program)
    return program, guide


def by_torch(prior: VampPrior, guide: DiagonalNormal) -> torch.distributions.Distribution:
    """The mixture from torch's own parts and the formulas: u = (levels - 1) sigmoid(4 v), scaled to [0, 1] on entry."""
    unit = torch.sigmoid(4 * prior.free) if prior.levels else prior.free
    loc, raw = guide.encoder(unit).chunk(2, -1)
    scale = torch.log1p(torch.exp(raw + torch.log(torch.expm1(torch.ones((), dtype=raw.dtype))))) + 1e-5
    each = torch.distributions.Independent(torch.distributions.Normal(loc, scale), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(len(loc)).to(loc)), each)


@pytest.mark.parametrize("levels", [0, 2, 5])
def test_it_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs(levels: int) -> None:
    program, guide = paired(levels)
    z = 2 * torch.randn(7, L, dtype=torch.float64)
    truth = by_torch(program.latent_prior, guide).log_prob(z)
    torch.testing.assert_close(program.prior().log_prob(z), truth)
    inputs = program.latent_prior.pseudo_inputs
    assert inputs.shape == (K, D)
    if levels:
        assert inputs.min() > 0
        assert inputs.max() < levels - 1
        assert inputs.max() > (levels - 1) / 2


def test_with_one_component_it_is_the_posterior_of_that_pseudo_input() -> None:
    program, guide = paired(components=1)
    z = torch.randn(7, L, dtype=torch.float64)
    posterior = guide.posterior(program.latent_prior.pseudo_inputs)
    torch.testing.assert_close(program.prior().log_prob(z), posterior.log_prob(z))


def test_gradients_are_those_of_the_mixture() -> None:
    program, guide = paired()
    prior, z = program.latent_prior, torch.randn(7, L, dtype=torch.float64)
    parameters = [prior.free, *guide.parameters()]
    found = torch.autograd.grad(program.prior().log_prob(z).sum(), parameters)
    truth = torch.autograd.grad(by_torch(prior, guide).log_prob(z).sum(), parameters)
    for one, other in zip(found, truth, strict=True):
        torch.testing.assert_close(one, other)
        assert other.abs().max() > 0


def test_pseudo_inputs_have_a_gradient_everywhere() -> None:
    """The paper's hardtanh has none outside its range."""
    program, _ = paired()
    prior = program.latent_prior
    with torch.no_grad():
        prior.free.copy_(torch.linspace(-3, 3, K * D).view(K, D))
    prior.pseudo_inputs.sum().backward()
    assert (prior.free.grad > 0).all()
    assert float(torch.autograd.grad(VampPrior.pseudo_inputs.fget(prior).sum(), prior.free)[0].max()) <= 1 + 1e-9


class Refined(DiagonalNormal):
    """Its posterior is not its family at the encoder's parameters."""

    def posterior(self, x: Tensor) -> TorchDistribution:
        raise AssertionError("the prior is made from the unrefined family")


def test_the_unrefined_family_is_used() -> None:
    prior, guide = VampPrior(L, D, K), Refined(D, L, (5,))
    prior.bind_guide(guide)
    z = torch.randn(3, L)
    torch.testing.assert_close(prior().log_prob(z), by_torch(prior, guide).log_prob(z))
    prior().sample((3,))


class Flowing(AmortizedGuide):
    """A family whose densities of foreign z are sequential, and whose context does not broadcast by itself."""

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__(data_dim, latent_dim, (5,))
        self.flow = ConditionalAffineAutoregressive(
            ConditionalAutoRegressiveNN(latent_dim, 3, [6], permutation=torch.arange(latent_dim))
        )

    def num_parameters(self) -> int:
        return self.latent_dim + 3

    def family(self, parameters: Tensor) -> TorchDistribution:
        loc, context = parameters[..., : self.latent_dim], parameters[..., self.latent_dim :]
        base = dist.Normal(loc, 1.0).to_event(1)
        return dist.TransformedDistribution(base, [self.flow.condition(context)])


def test_a_flow_as_family_works() -> None:
    prior, guide = VampPrior(L, D, K), Flowing(D, L)
    prior.bind_guide(guide)
    z = torch.randn(4, 3, L)
    parameters = guide.encode(prior.pseudo_inputs)
    each = torch.stack([guide.family(row.expand(4, 3, -1)).log_prob(z) for row in parameters])
    torch.testing.assert_close(prior().log_prob(z), each.exp().mean(0).log(), rtol=1e-4, atol=1e-5)
    assert prior().sample((4, 3)).shape == (4, 3, L)
    prior().log_prob(z).sum().backward()
    for parameter in (prior.free, *guide.parameters()):
        assert parameter.grad.abs().sum() > 0


class Dropping(DiagonalNormal):
    def __init__(self) -> None:
        super().__init__(D, L, (50,))
        self.encoder.insert(1, nn.Dropout(0.5))


def test_in_evaluation_the_prior_is_one_density_whatever_the_guides_mode() -> None:
    prior, guide = VampPrior(L, D, K), Dropping()
    prior.bind_guide(guide)
    z = torch.randn(3, L)
    assert not torch.equal(prior().log_prob(z), prior().log_prob(z))
    prior.eval()
    torch.testing.assert_close(prior().log_prob(z), prior().log_prob(z), rtol=0, atol=0)
    assert guide.training
    assert guide.encoder[1].training


def test_the_guide_is_not_in_the_programs_parameters() -> None:
    program, guide = paired()
    names = [name for name, _ in program.named_parameters()]
    assert [name for name in names if name.startswith("latent_prior")] == ["latent_prior.free"]
    assert not [key for key in program.state_dict() if "encoder" in key]
    objective = NegativeElbo(program, guide)
    assert len(list(objective.parameters())) == len(names) + len(list(guide.parameters()))
    assert program.latent_prior.guide() is guide


def test_a_copied_pair_is_a_pair() -> None:
    program, guide = paired()
    objective = NegativeElbo(program, guide)
    z = torch.randn(3, L, dtype=torch.float64)
    before = program.prior().log_prob(z)
    twin = copy.deepcopy(objective)
    assert twin.program.latent_prior.guide() is twin.guide
    assert twin.guide.program is twin.program
    assert twin.guide is not guide
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(program.prior().log_prob(z), before, rtol=0, atol=0)
    assert not torch.allclose(twin.program.prior().log_prob(z), before)


def test_training_by_the_elbo_moves_the_pseudo_inputs_along_their_gradient() -> None:
    """The loss is the formula's, for the same noise; one step of gradient descent then is that of autograd."""
    program, guide = paired()
    prior, x = program.latent_prior, torch.randint(0, 2, (8, D)).double()
    objective = NegativeElbo(program, guide)

    def by_hand() -> Tensor:
        torch.manual_seed(11)
        posterior = guide.posterior(x)
        z = posterior.rsample()
        elbo = program.likelihood(z).log_prob(x) + by_torch(prior, guide).log_prob(z) - posterior.log_prob(z)
        return -elbo.mean()

    parameters = list(objective.parameters())
    truth = torch.autograd.grad(by_hand(), parameters)
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.SGD(parameters, 0.1)
    torch.manual_seed(11)
    loss = objective(x)
    torch.testing.assert_close(loss, by_hand())
    loss.backward()
    optimizer.step()
    for parameter, old, gradient in zip(parameters, before, truth, strict=True):
        torch.testing.assert_close(parameter.detach(), old - 0.1 * gradient)
    assert (prior.free.detach() - before[[id(p) for p in parameters].index(id(prior.free))]).abs().min() > 0


@pytest.mark.parametrize("levels", [2, 5])
def test_it_starts_from_training_images(levels: int) -> None:
    images = torch.randint(0, levels, (40, D)).float().unique(dim=0)
    prior = VampPrior(L, D, len(images), levels)
    prior.initialise(images)
    found = prior.pseudo_inputs.detach()
    distance = (found[:, None] - images).abs().amax(-1)
    assert (distance.min(0).values < 0.1 * (levels - 1)).all(), "every image is there once"
    assert (distance.min(1).values < 0.1 * (levels - 1)).all()
    assert 0 < found.min() < found.max() < levels - 1


def test_it_starts_from_fewer_images_than_components_without_equal_ones() -> None:
    prior = VampPrior(L, D, 7, levels=0).double()
    images = 100 * torch.randn(3, D)
    prior.initialise(images)
    distance = (prior.free[:, None] - images).abs().amax(-1)
    assert (distance.min(1).values < 0.1).all()
    assert sorted((distance < 0.1).sum(0).tolist()) == [2, 2, 3]
    assert len(prior.free.unique(dim=0)) == 7
    assert prior.free.requires_grad


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(0, D), "none"),
        (torch.zeros(3, D + 1), "6 pixels"),
        (torch.full((3, D), 2.0), r"2.0.*0\.\.1"),
        (torch.full((3, D), -0.5), "-0.5"),
        (torch.full((3, D), torch.nan), "finite"),
    ],
)
def test_images_that_are_none_of_the_programs_are_refused(images: Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        VampPrior(L, D, 4).initialise(images)


class Bare(Guide):
    def posterior(self, x: Tensor) -> TorchDistribution:
        return dist.Normal(torch.zeros(len(x), self.latent_dim), 1.0).to_event(1)


class HalfBare(Bare):
    def encode(self, x: Tensor) -> Tensor:
        return x


def test_guides_that_it_cannot_be_made_from_are_refused_by_name() -> None:
    program = VAE(D, L, (5,), prior=VampPrior(L, D, K))
    with pytest.raises(InvalidInput, match=r"'VampPrior': is made from a guide, and none is bound; call guide.bind"):
        program.prior()
    with pytest.raises(InvalidInput, match=r"'Bare': has no encode and no family.*DiagonalNormal"):
        Bare(D, L).bind(program)
    with pytest.raises(InvalidInput, match="'HalfBare': has no family"):
        HalfBare(D, L).bind(program)
    with pytest.raises(InvalidInput, match="latent_dim 3, the prior 2"):
        DiagonalNormal(D, 3).bind(program)
    with pytest.raises(InvalidInput, match="data_dim 9, the prior 6"):
        DiagonalNormal(9, L).bind(program)
    with pytest.raises(InvalidInput, match="bind"):
        program.latent_prior.hold()


def test_another_guide_does_not_change_p_of_z_without_a_word() -> None:
    program, guide = paired()
    z = torch.randn(3, L, dtype=torch.float64)
    before = program.prior().log_prob(z)
    other = DiagonalNormal(D, L, (5,)).double()
    for stranger in (other, DiagonalNormal(D, L, (4,)).double(), Refined(D, L, (5,)).double()):
        with pytest.raises(InvalidInput, match=r"would change p\(z\).*hold\(\)"):
            stranger.bind(program)
    torch.testing.assert_close(program.prior().log_prob(z), before, rtol=0, atol=0)
    # Again the same one, and one of equal weights: p(z) stays, and follows the one bound last.
    guide.bind(program)
    other.load_state_dict(guide.state_dict())
    other.bind(program)
    assert program.latent_prior.guide() is other
    torch.testing.assert_close(program.prior().log_prob(z), before, rtol=0, atol=0)


def test_held_it_lets_other_guides_score_the_program() -> None:
    program, guide = paired()
    program.latent_prior.hold()
    for other in (DiagonalNormal(D, L), Bare(D, L)):
        other.bind(program)
        assert other.program is program
        assert program.latent_prior.guide() is guide


@pytest.mark.parametrize(
    ("options", "message"),
    [({"components": 0}, "components 0"), ({"levels": 1}, "levels 1"), ({"levels": -2}, "levels -2")],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        VampPrior(L, D, **options)
    with pytest.raises(InvalidInput, match="data_dim 0"):
        VampPrior(L, 0)
