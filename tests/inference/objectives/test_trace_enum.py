from __future__ import annotations

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from inference import fit
from inference.objectives.trace_enum import TraceEnum
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import AmortizedGuide, DiagonalNormal, GuideProgram
from ppl_models.guides.discrete import IndependentBernoulli, OneHotCategorical
from ppl_models.priors import AutoregressivePrior
from ppl_models.program import GenerativeProgram
from ppl_models.programs import MADE, VAE
from ppl_models.programs.discrete_vae import DiscreteVAE

CODES = ["binary", "one-hot"]
Pair = tuple[DiscreteVAE, AmortizedGuide]


def pair(code: str, bits: int = 3, pixels: int = 4) -> Pair:
    """A lively pair in float64, the guide far from the posterior."""
    program = DiscreteVAE(pixels, bits, (8,), code=code)
    guide = (IndependentBernoulli if code == "binary" else OneHotCategorical)(pixels, bits, (8,))
    for parameter in [*program.parameters(), *guide.parameters()]:
        nn.init.normal_(parameter, 0, 1.0)
    guide.bind(program)
    return program.double(), guide.double()


def images(count: int = 7, pixels: int = 4) -> Tensor:
    return torch.randint(0, 2, (count, pixels)).double()


def codes_of(code: str, bits: int) -> Tensor:
    listed = list(itertools.product((0.0, 1.0), repeat=bits)) if code == "binary" else torch.eye(bits).tolist()
    return torch.tensor(listed, dtype=torch.float64)


def log_masses(code: str, logits: Tensor, codes: Tensor) -> Tensor:
    """log of the mass of each code: logits (..., L) -> (..., S)."""
    if code == "one-hot":
        return logits - logits.exp().sum(-1, keepdim=True).log()
    ones = 1 / (1 + (-logits).exp())
    return torch.stack([torch.where(z == 1, ones, 1 - ones).log().sum(-1) for z in codes], -1)


def terms_by_hand(program: DiscreteVAE, guide: AmortizedGuide, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, z) and log q(z | x) for each image and code, (N, S), by sums and logarithms alone."""
    codes = codes_of(program.code, program.latent_dim)
    log_prior = log_masses(program.code, program.latent_prior.logits, codes)
    ones = 1 / (1 + (-program.decoder(codes)).exp())
    log_joint = log_prior + torch.stack([torch.where(image == 1, ones, 1 - ones).log().sum(-1) for image in x])
    return log_joint, log_masses(program.code, guide.encoder(x), codes)


def elbo_by_hand(program: DiscreteVAE, guide: AmortizedGuide, x: Tensor) -> Tensor:
    log_joint, log_q = terms_by_hand(program, guide, x)
    return (log_q.exp() * (log_joint - log_q)).sum(-1)


def evidence_by_hand(program: DiscreteVAE, guide: AmortizedGuide, x: Tensor) -> Tensor:
    return terms_by_hand(program, guide, x)[0].exp().sum(-1).log()


def gradients(loss: Tensor, *modules: nn.Module) -> dict[str, Tensor]:
    named = {f"{k}.{name}": p for k, module in enumerate(modules) for name, p in module.named_parameters()}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), found, strict=True)}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("count", [1, 7])
def test_loss_and_gradient_are_those_of_the_sum_by_hand_without_noise(code: str, count: int) -> None:
    program, guide = pair(code)
    x = images(count)
    objective, truth = TraceEnum(program, guide), -elbo_by_hand(program, guide, x).mean()
    loss, again = objective(x), objective(x)
    assert loss.shape == ()
    torch.testing.assert_close(loss, truth, rtol=1e-10, atol=0)
    assert torch.equal(loss, again)
    found, expected = gradients(loss, program, guide), gradients(truth, program, guide)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())
    torch.testing.assert_close(gradients(again, program, guide), found, rtol=0, atol=0)


@pytest.mark.parametrize("code", CODES)
def test_the_marginal_loss_is_the_exact_evidence_and_its_gradient(code: str) -> None:
    program, guide = pair(code)
    x = images()
    truth = -evidence_by_hand(program, guide, x).mean()
    alone, beside = TraceEnum(program, marginal=True)(x), TraceEnum(program, guide, marginal=True)(x)
    for loss in (alone, beside):
        torch.testing.assert_close(loss, truth, rtol=1e-10, atol=0)
        found = gradients(loss, program)
        torch.testing.assert_close(found, gradients(truth, program), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("code", CODES)
def test_the_marginal_loss_draws_the_guide_to_the_posterior_and_nothing_else(code: str) -> None:
    program, guide = pair(code)
    x = images()
    loss = TraceEnum(program, guide, marginal=True)(x)
    divergence = (evidence_by_hand(program, guide, x) - elbo_by_hand(program, guide, x)).mean()
    found = gradients(loss, guide)
    torch.testing.assert_close(found, gradients(divergence, guide), rtol=1e-8, atol=1e-10)
    assert all(gradient.abs().sum() > 0 for gradient in found.values())


@pytest.mark.parametrize("code", CODES)
def test_the_bound_lies_below_the_evidence_by_the_divergence(code: str) -> None:
    program, guide = pair(code)
    for x in images().split(1):
        log_joint, log_q = terms_by_hand(program, guide, x)
        log_posterior = log_joint - log_joint.exp().sum(-1, keepdim=True).log()
        divergence = (log_q.exp() * (log_q - log_posterior)).sum().item()
        gap = TraceEnum(program, guide)(x).item() - TraceEnum(program, marginal=True)(x).item()
        assert gap == pytest.approx(divergence, rel=1e-9)
        assert gap > 0


def test_the_bound_is_tight_where_the_guide_is_the_posterior() -> None:
    """With an affine decoder the posterior over categories is a softmax of something affine in x."""
    program = DiscreteVAE(4, 3, (), code="one-hot").double()
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, 1.0)
    guide, x = OneHotCategorical(4, 3, ()).double(), images()
    with torch.no_grad():
        logits = program.decoder[0].weight + program.decoder[0].bias[:, None]  # (D, K)
        guide.encoder[0].weight.copy_(logits.T)
        guide.encoder[0].bias.copy_(program.latent_prior.logits - functional.softplus(logits).sum(0))
    bound, exact = TraceEnum(program, guide)(x), TraceEnum(program, marginal=True)(x)
    torch.testing.assert_close(bound, exact, rtol=0, atol=1e-12)
    gradient = gradients(TraceEnum(program, guide, marginal=True)(x), guide)
    assert max(g.abs().max() for g in gradient.values()) < 1e-12


@pytest.mark.parametrize("marginal", [False, True])
def test_an_autoregressive_prior_takes_part(marginal: bool) -> None:
    program = DiscreteVAE(4, 3, (8,), prior=AutoregressivePrior(3, (5,))).double()
    guide, x, codes = IndependentBernoulli(4, 3, (8,)).double(), images(), codes_of("binary", 3)
    logits = torch.zeros(8, 3, dtype=torch.float64)
    for place in range(3):  # each conditional from the bits before it, later ones blank
        prefix = codes.clone()
        prefix[:, place:] = 0
        logits[:, place] = program.latent_prior.net(prefix)[:, place, 0].detach()
    log_prior = torch.where(codes == 1, logits.sigmoid(), (-logits).sigmoid()).log().sum(-1)
    ones = program.decoder(codes).sigmoid()
    log_joint = log_prior + torch.stack([torch.where(image == 1, ones, 1 - ones).log().sum(-1) for image in x])
    log_q = log_masses("binary", guide.encoder(x), codes)
    truth = log_joint.logsumexp(-1) if marginal else (log_q.exp() * (log_joint - log_q)).sum(-1)
    loss = TraceEnum(program, guide, marginal=marginal)(x)
    torch.testing.assert_close(loss, -truth.mean())
    assert all(g.abs().sum() > 0 for g in gradients(loss, program.latent_prior).values())


class TwoCodes(GenerativeProgram):
    """z ~ K categories, w ~ J categories given z, x given both: tables of free parameters."""

    latents = ("z", "w")

    def __init__(self, k: int = 3, j: int = 2) -> None:
        super().__init__(4)
        self.z, self.w, self.x = (nn.Parameter(torch.randn(*shape)) for shape in ((k,), (k, j), (k, j, 4)))

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with self.plate(x, size):
            z = pyro.sample("z", dist.OneHotCategorical(logits=self.z))
            w = pyro.sample("w", dist.OneHotCategorical(logits=z @ self.w))
            logits = torch.einsum("...k,...l,klp->...p", z, w, self.x)
            return self.observe(dist.Bernoulli(logits=logits).to_event(1), x, size)


class TwoCodesGuide(GuideProgram):
    def __init__(self, k: int = 3, j: int = 2) -> None:
        super().__init__()
        self.z, self.w, self.shape = nn.Linear(4, k), nn.Linear(4, k * j), (k, j)

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        with pyro.plate("image", len(x)):
            z = pyro.sample("z", dist.OneHotCategorical(logits=self.z(x)))
            w = self.w(x).unflatten(-1, self.shape)
            return pyro.sample("w", dist.OneHotCategorical(logits=(z.unsqueeze(-1) * w).sum(-2)))


def test_several_discrete_latents_are_enumerated_together() -> None:
    program, guide, x = TwoCodes().double(), TwoCodesGuide().double(), images()
    log_z, log_w = program.z.log_softmax(-1), program.w.log_softmax(-1)
    q_z, q_w = guide.z(x).log_softmax(-1), guide.w(x).unflatten(-1, (3, 2)).log_softmax(-1)
    truth = 0.0
    for i, j in itertools.product(range(3), range(2)):
        log_x = torch.where(x == 1, program.x[i, j].sigmoid(), (-program.x[i, j]).sigmoid()).log().sum(-1)
        log_q = q_z[:, i] + q_w[:, i, j]
        truth = truth + log_q.exp() * (log_z[i] + log_w[i, j] + log_x - log_q)
    loss = TraceEnum(program, guide)(x)
    torch.testing.assert_close(loss, -truth.mean())
    expected = gradients(-truth.mean(), program, guide)
    torch.testing.assert_close(gradients(loss, program, guide), expected)


@pytest.mark.parametrize("marginal", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_training_moves_every_parameter_and_lowers_the_loss(code: str, marginal: bool) -> None:
    program, guide = pair(code, bits=4)
    program, guide, x = program.float(), guide.float(), images(40).float()
    before = {f"{m}.{n}": p.clone() for m in (program, guide) for n, p in m.named_parameters()}
    objective = TraceEnum(program, guide, marginal=marginal)
    first = objective(x).item()
    history = fit(objective, x, lambda p: Adam(p, 0.02), valid=x, epochs=8, batch_size=20, device="cpu", progress=False)
    after = {f"{m}.{n}": p for m in (program, guide) for n, p in m.named_parameters()}
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert any("latent_prior" in name for name, _ in program.named_parameters())
    assert objective(x).item() < first - 0.1
    assert history.records[-1]["valid_claim"] == "LOWER_BOUND"


def test_codes_are_decoded_once_and_not_once_per_image() -> None:
    program, guide = pair("binary", bits=8, pixels=64)
    rows: list[int] = []
    program.decoder.register_forward_hook(lambda m, inputs, out: rows.append(out[..., 0].numel()))
    x = images(50, 64)
    for marginal in (False, True):
        TraceEnum(program, guide, marginal=marginal)(x).backward()
    assert rows == [256, 256]


def test_pyros_own_enumeration_of_the_program_agrees_and_loses_codes_of_tiny_prior_mass() -> None:
    def empty(x: Tensor) -> None:
        return None

    pyros = TraceEnum_ELBO(max_plate_nesting=1)
    program, guide = pair("binary", bits=8, pixels=64)
    program, x = program.float(), images(5, 64).float()
    ours = TraceEnum(program, marginal=True)(x)
    torch.testing.assert_close(ours, pyros.differentiable_loss(config_enumerate(program), empty, x) / 5)
    with torch.no_grad():
        program.latent_prior.logits.fill_(-16.0)
        program.decoder[-1].weight.mul_(100)
        rare = (program.decoder(torch.ones(1, 8)) > 0).float()
        single = TraceEnum(program, marginal=True)(rare)
        double = -evidence_by_hand(program.double(), guide, rare.double()).mean()
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0)
    program.float()
    assert not pyros.differentiable_loss(config_enumerate(program), empty, rare).isfinite()


class Independent(AmortizedGuide):
    """Bits as Pyro's own product, which cannot be enumerated."""

    def num_parameters(self) -> int:
        return self.latent_dim

    def family(self, parameters: Tensor) -> TorchDistribution:
        return dist.Bernoulli(logits=parameters).to_event(1)


def test_pairs_that_cannot_be_enumerated_are_refused_with_the_remedy() -> None:
    program = DiscreteVAE(4, 3)
    for refused, guide, marginal, message in [
        (VAE(4, 2), DiagonalNormal(4, 2), False, "DiagonalNormal.*continuous at site 'z'.*use the objective elbo"),
        (VAE(4, 2), DiagonalNormal(4, 2), True, "--objective trace-enum.*VAE.*continuous latents.*use elbo"),
        (program, DiagonalNormal(4, 3), True, "DiagonalNormal.*continuous"),
        (program, Independent(4, 3), False, r"Independent.*no enumerate_support; give BinaryCode\(logits\)"),
        (DiscreteVAE(4, 13), IndependentBernoulli(4, 13), False, r"2\^13 values.*at most 12 bits"),
        (DiscreteVAE(4, 13), None, True, r"2\^13 values, more than 4096; use elbo"),
        (DiscreteVAE(4, 4097, (), code="one-hot"), OneHotCategorical(4, 4097, ()), False, "more than 4096 values"),
        (TwoCodes(65, 64), TwoCodesGuide(65, 64), False, "more than 4096 values.*smaller latent_dim"),
        (program, TwoCodesGuide(), False, "adds .*'w'"),
        (program, None, False, "no guide"),
        (MADE(4), None, False, "no guide; use nll"),
        (MADE(4), None, True, "no guide; use nll"),
        (program, None, "yes", "--objective.marginal 'yes'.*true or false"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            TraceEnum(refused, guide, marginal=marginal)
    with pytest.raises(NotADensityError):
        TraceEnum(NotADensity(Autoencoder(4, 2)), None)


def test_the_largest_code_is_still_taken_and_construction_leaves_no_trace() -> None:
    program, guide = DiscreteVAE(4, 12, ()), IndependentBernoulli(4, 12, ())
    before = torch.get_rng_state()
    objective = TraceEnum(program, guide)
    assert torch.equal(torch.get_rng_state(), before)
    assert guide.training
    assert objective(images(2).float()).isfinite()
    TraceEnum(TwoCodes(64, 64), TwoCodesGuide(64, 64))
    assert objective.name == "trace-enum"
