from __future__ import annotations

import itertools
import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from inference import Claim, log_weights
from inference.estimators.enumerated import Enumerated, JointOfCodes, latent_values
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.distributions import Autoregressive, BernoulliPixels
from ppl_models.distributions.binary_code import BinaryCode
from ppl_models.guides.discrete import IndependentBernoulli, OneHotCategorical
from ppl_models.ordering import Ordering
from ppl_models.priors import AutoregressivePrior, Bits, Prior, VampPrior
from ppl_models.program import GenerativeProgram, LatentProgram
from ppl_models.programs import MADE, VAE
from ppl_models.programs.discrete_vae import DiscreteVAE

CODES = ["binary", "one-hot"]


def lively(program: nn.Module, scale: float = 1.0) -> nn.Module:
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, scale)
    return program.double()


def images_of(pixels: int) -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=pixels)), dtype=torch.float64)


def codes_of(program: DiscreteVAE) -> list[tuple[float, ...]]:
    length = program.latent_dim
    if program.code == "one-hot":
        return [tuple(float(i == k) for i in range(length)) for k in range(length)]
    return list(itertools.product((0.0, 1.0), repeat=length))


def prior_by_hand(program: DiscreteVAE) -> list[float]:
    """p(z) of each code from the prior's logits, in plain Python."""
    b = program.latent_prior.logits.tolist()
    if program.code == "one-hot":
        return [math.exp(v) / sum(map(math.exp, b)) for v in b]
    bits = [[1 / (1 + math.exp(v)), 1 / (1 + math.exp(-v))] for v in b]
    return [math.prod(bits[i][int(bit)] for i, bit in enumerate(z)) for z in codes_of(program)]


def evidence_by_hand(program: DiscreteVAE, x: Tensor, prior: list[float] | None = None) -> Tensor:
    """log sum_z p(z) p(x | z) in numpy from the decoder's weights."""
    h = np.array(codes_of(program))
    layers = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in program.decoder[::2]]
    for number, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        h = np.tanh(h) if number < len(layers) - 1 else h
    total = np.zeros(len(x))
    for mass, ones in zip(prior or prior_by_hand(program), 1 / (1 + np.exp(-h)), strict=True):
        total += mass * np.prod(np.where(x.numpy() == 1, ones, 1 - ones), -1)
    return torch.tensor(np.log(total))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pixels", [4, 6])
def test_the_values_are_those_of_the_sum_by_hand_and_all_images_have_mass_one(code: str, pixels: int) -> None:
    program, x = lively(DiscreteVAE(pixels, 3, (8,), code=code)), images_of(pixels)
    estimate = Enumerated()(program, x)
    torch.testing.assert_close(estimate.values, evidence_by_hand(program, x), rtol=0, atol=1e-12)
    assert estimate.values.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert estimate.claim is Claim.NUMERICAL
    assert estimate.stderr is None
    assert estimate.tolerance == 1e-6
    assert not estimate.values.requires_grad
    assert (Enumerated.name, Enumerated().num_particles) == ("enumerate", 0)


def narrow(likelihood: str, levels: int) -> DiscreteVAE:
    """Pixels that are known to a thousandth of their range: roundings count a thousandfold."""
    program = lively(DiscreteVAE(16, 4, (20,), levels=levels, likelihood=likelihood)).float()
    with torch.no_grad():
        if likelihood == "gaussian":
            program.family.log_scale.fill_(-7.0)
        else:
            program.decoder[-1].bias[2::3] = -8.0
    return program


def evidence_in_long_double(program: DiscreteVAE, x: Tensor) -> np.ndarray:
    """The same sum in numpy's extended precision, for one Gaussian or one discretized logistic per pixel."""
    long = lambda tensor: tensor.detach().numpy().astype(np.longdouble)  # noqa: E731
    b, images, unit = long(program.latent_prior.logits), long(x), program.levels - 1
    codes = np.array(codes_of(program), dtype=np.longdouble)
    log_prior = -np.log1p(np.exp(np.where(codes == 1, -b, b))).sum(-1)
    first, last = program.decoder[0], program.decoder[2]
    h = np.tanh(codes @ long(first.weight).T + long(first.bias)) @ long(last.weight).T + long(last.bias)
    if program.measure == "density":
        mean, sigma = h * unit, np.maximum(np.exp(long(program.family.log_scale)), np.longdouble(1e-3)) * unit
        log_x = -(((images[:, None] - mean) / sigma) ** 2) / 2 - np.log(sigma) - np.log(2 * np.longdouble(np.pi)) / 2
    else:
        _, mean, log_scale = np.moveaxis(h.reshape(*h.shape[:-1], -1, 3), -1, 0)
        scale = np.exp(np.maximum(log_scale - np.log(np.longdouble(2)), np.log(np.longdouble(2) / unit / 8)))
        edge = (2 * images[:, None] + 1) / unit - 1
        upper, lower = (edge - mean) / scale, (edge - np.longdouble(2) / unit - mean) / scale
        log_upper = np.where(images[:, None] == unit, 0, -np.logaddexp(0, -upper))
        log_lower = np.where(images[:, None] == 0, 0, -np.logaddexp(0, lower))
        inner = (images[:, None] > 0) & (images[:, None] < unit)
        log_x = log_upper + log_lower + np.where(inner, np.log(-np.expm1(lower - upper)), 0)
    return np.logaddexp.reduce(log_prior + log_x.sum(-1), -1)


@pytest.mark.parametrize(("likelihood", "levels"), [("gaussian", 256), ("gaussian", 17), ("logistic:1", 256)])
def test_the_tolerance_holds_where_single_precision_would_not(likelihood: str, levels: int) -> None:
    program = narrow(likelihood, levels)
    with torch.no_grad():
        x = program(size=20)
        truth = evidence_in_long_double(program, x)
        estimate = Enumerated()(program, x)
        single = JointOfCodes(program, latent_values(program)).log_prob(x).logsumexp(0)
    assert estimate.tolerance == 1e-6
    assert estimate.values.dtype == torch.float64
    assert np.abs(estimate.values.numpy() - truth).max() < estimate.tolerance
    assert np.abs(single.numpy() - truth).max() > 1e-4


def test_the_program_is_copied_and_its_own_precision_left_alone() -> None:
    program = lively(DiscreteVAE(4, 3, (8,))).float()
    before = {name: value.clone() for name, value in program.state_dict().items()}
    values = Enumerated()(program, images_of(4).float()).values
    assert all(torch.equal(value, before[name]) for name, value in program.state_dict().items())
    assert {value.dtype for value in program.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(values, evidence_by_hand(program.double(), images_of(4)), rtol=0, atol=1e-12)


class VampCodes(VampPrior):
    """1/K sum_k q(z | u_k) over codes."""

    kind = "binary"


def test_a_prior_made_from_the_guide_is_enumerated_in_double_precision_with_it() -> None:
    program = lively(DiscreteVAE(4, 3, (8,), prior=VampCodes(3, 4, components=2))).float()
    guide, x = lively(IndependentBernoulli(4, 3, (8,))).float(), images_of(4)
    guide.bind(program)
    values = Enumerated()(program, x.float()).values
    assert next(guide.parameters()).dtype == torch.float32
    ones = guide.double().encoder(program.double().latent_prior.pseudo_inputs).sigmoid().tolist()
    pairs = [
        [math.prod(p if b else 1 - p for p, b in zip(part, z, strict=True)) for part in ones] for z in codes_of(program)
    ]
    masses = [sum(pair) / 2 for pair in pairs]
    torch.testing.assert_close(values, evidence_by_hand(program, x, masses), rtol=0, atol=1e-12)


@pytest.mark.parametrize("max_elements", [8, 8 * 5, 8 * 40, 10**6])
def test_chunks_change_nothing_and_every_code_is_decoded_once(
    max_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, x = lively(DiscreteVAE(4, 4, (8,))), images_of(4)
    rows: list[int] = []
    pairs: list[int] = []
    plain = JointOfCodes.log_prob

    def counted(joint: JointOfCodes, images: Tensor) -> Tensor:
        pairs.append(joint.count * len(images))
        return plain(joint, images)

    monkeypatch.setattr(JointOfCodes, "log_prob", counted)
    program.decoder.register_forward_hook(lambda m, inputs, out: rows.append(out[..., 0].numel()))
    values = Enumerated(max_elements)(program, x).values
    torch.testing.assert_close(values, evidence_by_hand(program, x), rtol=0, atol=1e-12)
    assert sum(rows) == 16
    assert sum(pairs) == 16 * 16
    assert max(rows) <= max(pairs) <= max(1, max_elements // 8)


def test_a_value_does_not_depend_on_the_rest_of_the_batch_and_modes_are_left_alone() -> None:
    program, x = lively(DiscreteVAE(6, 5, (8,))).float(), images_of(6).float()
    program.train()
    before = torch.get_rng_state()
    together = Enumerated()(program, x).values
    alone = torch.cat([Enumerated()(program, x[i : i + 1]).values for i in range(64)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), before)
    assert program.training


def test_an_autoregressive_prior_over_bits_is_enumerated() -> None:
    prior = AutoregressivePrior(3, (5,))
    program, x = lively(DiscreteVAE(4, 3, (8,), prior=prior)), images_of(4)
    masses = []
    for z in codes_of(program):
        mass, prefix = 1.0, [0.0, 0.0, 0.0]
        for place, bit in enumerate(z):  # one conditional after another, later bits left blank
            logit = prior.net(torch.tensor(prefix, dtype=torch.float64))[place, 0].item()
            mass *= 1 / (1 + math.exp(-logit if bit else logit))
            prefix[place] = bit
        masses.append(mass)
    values = Enumerated()(program, x).values
    torch.testing.assert_close(values, evidence_by_hand(program, x, masses), rtol=0, atol=1e-12)
    assert values.exp().sum().item() == pytest.approx(1, abs=1e-12)


class MixtureOfCodes(Prior):
    """Bits that depend on each other: a mixture of two products."""

    kind = "binary"

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        self.logits = nn.Parameter(torch.zeros(2, latent_dim))

    def forward(self) -> TorchDistribution:
        return dist.MixtureSameFamily(dist.Categorical(self.logits.new_tensor([0.25, 0.75])), BinaryCode(self.logits))


def test_a_mixture_prior_over_bits_is_enumerated() -> None:
    program, x = lively(DiscreteVAE(4, 3, (8,), prior=MixtureOfCodes(3))), images_of(4)
    parts = []
    for logits in program.latent_prior.logits.tolist():
        ones = [1 / (1 + math.exp(-v)) for v in logits]
        parts.append([math.prod(p if b else 1 - p for p, b in zip(ones, z, strict=True)) for z in codes_of(program)])
    masses = [0.25 * a + 0.75 * b for a, b in zip(*parts, strict=True)]
    torch.testing.assert_close(Enumerated()(program, x).values, evidence_by_hand(program, x, masses))


class Hybrid(LatentProgram):
    """Two bits and an autoregressive likelihood: pixel i is logistic in z and the pixels before it. ``prior`` is given
    as a function."""

    def __init__(self, prior: TorchDistribution | None = None) -> None:
        super().__init__(4, 2)
        self.weight, self.context = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(2, 4))
        self.given = prior

    def prior(self) -> TorchDistribution:
        return BinaryCode(self.weight[0, :2]) if self.given is None else self.given

    def likelihood(self, z: Tensor) -> TorchDistribution:
        def net(x: Tensor) -> Tensor:
            return (x @ self.weight.tril(-1).T + z @ self.context).unsqueeze(-1)

        return Autoregressive(net, BernoulliPixels(), Ordering(range(4)), context_shape=z.shape[:-1])


def test_a_hybrid_with_a_code_is_enumerated() -> None:
    program, x = Hybrid().double(), images_of(4)
    weight, context = program.weight.detach().numpy(), program.context.detach().numpy()
    truth = np.zeros(16)
    for z in itertools.product((0, 1), repeat=2):
        mass = np.prod([1 / (1 + np.exp(-b if bit else b)) for b, bit in zip(weight[0, :2], z, strict=True)])
        for number, image in enumerate(x.numpy()):
            logits = [image[:i] @ weight[i, :i] + np.array(z) @ context[:, i] for i in range(4)]
            pixels = [1 / (1 + np.exp(-v if pixel else v)) for v, pixel in zip(logits, image, strict=True)]
            truth[number] += mass * np.prod(pixels)
    for estimator in (Enumerated(), Enumerated(12)):
        torch.testing.assert_close(estimator(program, x).values, torch.tensor(np.log(truth)))


@pytest.mark.parametrize("code", CODES)
def test_importance_weights_average_to_the_enumeration_and_their_logarithms_lie_below(code: str) -> None:
    program = lively(DiscreteVAE(4, 3, (8,), code=code))
    family = IndependentBernoulli if code == "binary" else OneHotCategorical
    guide, x = family(4, 3, (8,)).double(), images_of(4)
    truth = evidence_by_hand(program, x)
    with torch.no_grad():
        log_w = log_weights(program, guide, x, 5000)
    relative = (log_w - truth).exp()
    assert ((relative.mean(0) - 1).abs() < 4 * relative.std(0) / math.sqrt(5000)).all()
    error = log_w.std(0) / math.sqrt(5000)
    assert (log_w.mean(0) < truth + 4 * error).all()
    assert (log_w.mean(0) < truth - 4 * error).any(), "this guide is off: the gap must show"


class TwoLatents(GenerativeProgram):
    latents = ("a", "b")

    def forward(self, x: Tensor | None = None, *, size: int = 1) -> Tensor:
        raise NotImplementedError


class Listless(dist.Bernoulli):
    """Discrete, and of a support that no one knows how to list."""

    has_enumerate_support = False
    event_shape = torch.Size([3])
    support = dist.constraints.nonnegative_integer


def test_programs_that_cannot_be_enumerated_are_refused_with_the_remedy() -> None:
    x = images_of(4).float()
    for program, message in [
        (VAE(4, 2), "VAE.*continuous latents.*quadrature.*use iw:5000"),
        (MADE(4), "MADE.*no latents; use exact"),
        (TwoLatents(4), "has latents a, b, not one vector z; use iw:5000"),
        (DiscreteVAE(4, 17), r"2\^17 values, more than 65536; use iw:5000"),
        (DiscreteVAE(4, 10**5), r"2\^100000 values"),
        (DiscreteVAE(4, 2**16 + 1, (), code="one-hot"), "65537 values"),
        (Hybrid(BinaryCode(torch.zeros(16, 2))), r"batch shape \(16,\)"),
        (Hybrid(dist.Bernoulli(torch.tensor(0.5))), r"event shape \(\)"),
        (Hybrid(Listless(torch.tensor(0.5))), "cannot be listed, Listless.*enumerate_support"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            Enumerated()(program, x)
    with pytest.raises(NotADensityError):
        Enumerated()(NotADensity(Autoencoder(4, 2)), x)
    with pytest.raises(InvalidInput, match="max_elements"):
        Enumerated(0)


def test_sixteen_bits_are_still_listed_and_the_limit_is_inclusive() -> None:
    assert latent_values(DiscreteVAE(4, 16, ())).shape == (2**16, 16)
    program = DiscreteVAE(4, 3, ())
    assert latent_values(program, limit=8).tolist() == [list(z) for z in codes_of(program)]
    with pytest.raises(InvalidInput, match=r"2\^3 values, more than 7"):
        latent_values(program, limit=7)


def test_a_prior_of_another_support_lists_its_own_values() -> None:
    class Ends(TorchDistribution):
        """000 and 111, each with probability 1/2."""

        has_enumerate_support = True
        support = dist.constraints.independent(dist.constraints.nonnegative_integer, 1)

        def __init__(self) -> None:
            super().__init__((), (2,), validate_args=False)

        def enumerate_support(self, expand: bool = True) -> Tensor:
            return torch.tensor([[0.0, 0.0], [1.0, 1.0]])

        def log_prob(self, value: Tensor) -> Tensor:
            return torch.full(value.shape[:-1], math.log(0.5), dtype=value.dtype)

    x, program = images_of(4), Hybrid(Ends()).double()
    ends = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    truth = torch.stack([program.likelihood(z).log_prob(x) for z in ends]).logsumexp(0) - math.log(2)
    torch.testing.assert_close(Enumerated()(program, x).values, truth.detach())


class PixelsApart(DiscreteVAE):
    def likelihood(self, z: Tensor) -> TorchDistribution:
        return dist.Bernoulli(logits=self.decoder(z))


def test_a_likelihood_that_is_not_one_number_per_image_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"PixelsApart.*to_event\(1\)"):
        Enumerated()(PixelsApart(4, 3, ()), images_of(4).float())


class Fixed(LatentProgram):
    """No parameters at all: two equally likely bits, pixels that follow the first."""

    def prior(self) -> TorchDistribution:
        return BinaryCode(torch.zeros(2))

    def likelihood(self, z: Tensor) -> TorchDistribution:
        return dist.Bernoulli(0.25 + 0.5 * z[..., :1].expand(*z.shape[:-1], 4)).to_event(1)


def test_a_program_without_parameters_is_enumerated_in_double_precision() -> None:
    x = images_of(4)
    ones = x.sum(-1)
    truth = (0.5 * (0.75**ones * 0.25 ** (4 - ones) + 0.25**ones * 0.75 ** (4 - ones))).log()
    torch.testing.assert_close(Enumerated()(Fixed(4, 2), x.float()).values, truth, rtol=0, atol=1e-7)


def test_bits_that_are_fixed_leave_one_code() -> None:
    program, x = lively(DiscreteVAE(4, 3, (8,), prior=Bits(3))), images_of(4)
    with torch.no_grad():
        program.latent_prior.logits.copy_(torch.tensor([math.inf, -math.inf, math.inf]))
        logits = program.decoder(torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
        truth = torch.where(x == 1, logits.sigmoid(), (-logits).sigmoid()).log().sum(-1)
    torch.testing.assert_close(Enumerated()(program, x).values, truth)
