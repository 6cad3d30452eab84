"""Discretized logistics against arithmetic in 60 digits, and against their own masses summed up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext

import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions.testing.gof import multinomial_goodness_of_fit
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from ppl_models import InvalidInput
from ppl_models.distributions import DiscretizedLogisticMixture
from ppl_models.distributions.logistic import min_log_scale

# Goodness-of-fit p-values below this fail: a right sampler fails once in a thousand seeds, and the seed is fixed.
FAILURE_RATE = 1e-3
LEVELS = [2, 3, 5, 33, 256]


def exact_log_prob(
    value: int, logits: Sequence[float], means: Sequence[float], log_scales: Sequence[float], levels: int
) -> float:
    """log p(v) as the definition says it: a difference of two distribution functions, in 60 digits.

    Right of the mean it is the same difference seen from the other side, sigmoid(b) - sigmoid(a) = sigmoid(-a) -
    sigmoid(-b), so that 60 digits are enough for any tail.
    """
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        total, norm = Decimal(0), sum(Decimal(w).exp() for w in logits)
        for w, m, s in zip(logits, means, log_scales, strict=True):
            edges = [
                (Decimal(2 * v + 1) / (levels - 1) - 1 - Decimal(m)) / Decimal(s).exp() for v in (value - 1, value)
            ]
            sign = -1 if sum(edges) > 0 else 1
            low, high = (1 / (1 + (-sign * z).exp()) for z in edges)
            if value == 0:
                low = Decimal(0 if sign > 0 else 1)
            if value == levels - 1:
                high = Decimal(1 if sign > 0 else 0)
            total += Decimal(w).exp() / norm * abs(high - low)
        return float(total.ln())


def mixture(levels: int, rows: int = 1, components: int = 3, dtype: torch.dtype = torch.float64, spread: float = 1.0):
    means = spread * torch.randn(rows, components, dtype=dtype)
    log_scales = spread * torch.randn(rows, components, dtype=dtype) - 1
    return DiscretizedLogisticMixture(torch.randn(rows, components, dtype=dtype), means, log_scales, levels)


def all_values(distribution: DiscretizedLogisticMixture) -> Tensor:
    """(levels, 1), whatever ``enumerate_support`` says."""
    return torch.arange(distribution.levels, dtype=distribution.means.dtype).unsqueeze(-1)


EXTREMES = [0.0, 1.0, -1.0, 3.0, -40.0, 1e3, -1e6, 1e30, -1e30]


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["double", "float"])
def test_the_mass_is_one_for_random_and_for_extreme_parameters(levels: int, dtype: torch.dtype, error: float) -> None:
    for spread in (0.3, 1.0, 10.0, 300.0):
        d = mixture(levels, 200, dtype=dtype, spread=spread)
        mass = d.log_prob(all_values(d)).exp().sum(0)
        assert (mass - 1).abs().max() < error
    means, log_scales = torch.meshgrid(
        torch.tensor(EXTREMES, dtype=dtype), torch.tensor([-1e30, -50.0, -7.0, 0.0, 20.0, 60.0, 1e4], dtype=dtype),
        indexing="ij",
    )  # fmt: skip
    d = DiscretizedLogisticMixture(torch.zeros(1, dtype=dtype), means[..., None], log_scales[..., None], levels)
    mass = d.log_prob(torch.arange(levels, dtype=dtype).view(-1, 1, 1)).exp().sum(0)
    assert (mass - 1).abs().max() < error


@pytest.mark.parametrize("levels", LEVELS)
def test_log_prob_is_the_definition_also_where_its_difference_cancels(levels: int) -> None:
    lowest = min_log_scale(levels)
    cases = [
        ([0.3, -1.2], [0.1, -0.7], [lowest + 4, lowest + 2]),
        ([0.0, 2.0], [0.99, 1.3], [lowest, lowest + 3]),
        ([5.0, -5.0], [-4.0, 9.0], [lowest, lowest + 1]),
        ([0.0, 0.0], [-0.2, 0.5], [12.0, 25.0]),
        ([0.0], [-0.2], [95.0]),
        ([1.0], [-30.0], [lowest]),
    ]
    for dtype in (torch.float64, torch.float32):
        # An edge near 1 is known to half a unit in the last place, and a scale magnifies that.
        relative = 10 * torch.finfo(dtype).eps
        absolute = 4 * torch.finfo(dtype).eps / math.exp(lowest)
        for case in cases:
            parameters = [torch.tensor(p, dtype=dtype) for p in case]
            d = DiscretizedLogisticMixture(*parameters, levels)
            for value in sorted({0, 1, levels // 2, levels - 1}):
                truth = exact_log_prob(value, *(p.tolist() for p in parameters), levels)
                assert d.log_prob(torch.tensor(float(value))).item() == pytest.approx(truth, rel=relative, abs=absolute)


def test_the_middle_bin_of_three_by_hand() -> None:
    """Bins of three levels end at -1/2 and 1/2: a logistic of mean 0 and scale 1/2 has tanh(1/2) between them."""
    d = DiscretizedLogisticMixture(torch.zeros(1), torch.zeros(1), torch.tensor([0.5]).log(), 3)
    middle = math.tanh(0.5)
    assert d.log_prob(torch.arange(3.0)).exp().tolist() == pytest.approx([(1 - middle) / 2, middle, (1 - middle) / 2])


def test_no_scale_is_narrower_than_an_eighth_of_a_bin() -> None:
    assert min_log_scale(256) == pytest.approx(math.log(2 / 255 / 8))
    d = DiscretizedLogisticMixture(torch.zeros(1), torch.zeros(1), torch.tensor([-50.0]), 5)
    assert d.log_prob(torch.tensor(2.0)).exp().item() == pytest.approx(math.tanh(2))
    assert d.log_prob(torch.tensor(3.0)).item() == pytest.approx(exact_log_prob(3, [0], [0], [math.log(1 / 16)], 5))


@pytest.mark.parametrize("value", [0.0, 1.0, 128.0, 254.0, 255.0])
def test_values_and_gradients_are_finite_in_the_tails_in_float32(value: float) -> None:
    means, log_scales = torch.meshgrid(
        torch.tensor(EXTREMES), torch.tensor([-1e30, -80.0, -7.0, 0.0, 30.0, 90.0, 1e30]), indexing="ij"
    )
    for logits in ([0.0, 0.0], [1e30, -1e30], [-200.0, 200.0]):
        leaves = [
            torch.tensor(logits).expand(*means.shape, 2).clone().requires_grad_(),
            torch.stack([means, -means], -1).requires_grad_(),
            torch.stack([log_scales, log_scales], -1).requires_grad_(),
        ]
        score = DiscretizedLogisticMixture(*leaves, 256).log_prob(torch.tensor(value))
        score.sum().backward()
        assert torch.isfinite(score).all()
        assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_a_mean_far_away_is_pulled_back() -> None:
    """log p falls linearly in the tail: its slope in the mean is 1 / s on each side of the inner bin."""
    scale = math.exp(-5)
    for far, slope in ((50.0, -1 / scale), (-50.0, 1 / scale)):
        mean = torch.tensor([far], requires_grad=True)
        d = DiscretizedLogisticMixture(torch.zeros(1), mean, torch.tensor([-5.0]), 256)
        d.log_prob(torch.tensor(100.0)).backward()
        assert mean.grad.item() == pytest.approx(slope, rel=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    def score(*parameters: Tensor) -> Tensor:
        return DiscretizedLogisticMixture(*parameters, 9).log_prob(torch.arange(9.0, dtype=torch.float64)[:, None])

    d = mixture(9, 4)
    leaves = [p.clone().requires_grad_() for p in (d.logits, d.means, d.log_scales)]
    assert torch.autograd.gradcheck(score, leaves)


@pytest.mark.parametrize("levels", LEVELS)
def test_the_inverse_distribution_function_is_that_of_the_summed_masses(levels: int) -> None:
    d = mixture(levels, 50)
    cumulative = d.log_prob(all_values(d)).exp().cumsum(0)
    cumulative[-1] = 1
    noise = torch.rand(2000, 50, dtype=torch.float64)
    noise[0], noise[1] = 0, 1 - 2**-53
    first_above = (noise >= cumulative.unsqueeze(1)).sum(0)
    assert torch.equal(d.icdf(noise), first_above.double())
    assert len(d.icdf(noise).unique()) == levels
    torch.testing.assert_close(d.cdf(all_values(d).expand(-1, 50)), cumulative)


def test_a_greater_uniform_never_gives_a_lesser_value() -> None:
    d = mixture(256, 20, dtype=torch.float32)
    values = d.icdf(torch.linspace(0, 1 - 2**-24, 3001)[:, None])
    assert (values.diff(dim=0) >= 0).all()
    assert values.max() <= 255


@pytest.mark.parametrize(("mean", "value"), [(50.0, 255.0), (-50.0, 0.0), (1e30, 255.0)])
def test_a_mixture_that_is_sure_draws_what_it_is_sure_of(mean: float, value: float) -> None:
    d = DiscretizedLogisticMixture(torch.zeros(2), torch.full((2,), mean), torch.full((2,), -5.0), 256)
    noise = torch.tensor([0.0, 0.3, 1 - 2**-24, 1.0])
    assert d.icdf(noise).tolist() == [value] * 3 + [255.0], "a uniform of 1 is beyond all"
    assert d.icdf(torch.tensor(0.5)).item() == value


def test_draws_fit_the_masses() -> None:
    d = mixture(8, components=2)
    counts = torch.bincount(d.sample(torch.Size((20_000,)))[:, 0].long(), minlength=8)
    p_value = multinomial_goodness_of_fit(d.log_prob(all_values(d))[:, 0].exp(), counts, total_count=20_000)
    assert p_value > FAILURE_RATE


@pytest.mark.parametrize("levels", LEVELS)
def test_the_mean_is_the_sum_over_the_values(levels: int) -> None:
    d = mixture(levels, 7)
    values = all_values(d)
    torch.testing.assert_close(d.mean, (values * d.log_prob(values).exp()).sum(0))


def test_half_precision_goes_in_and_float32_comes_out() -> None:
    half = [torch.full((4, 2), v, dtype=torch.bfloat16) for v in (0.0, 0.25, -3.0)]
    d = DiscretizedLogisticMixture(*half, 256)
    assert d.log_prob(torch.full((4,), 100.0, dtype=torch.bfloat16)).dtype == torch.float32
    truth = exact_log_prob(100, [0, 0], [0.25] * 2, [-3] * 2, 256)
    assert d.log_prob(torch.full((4,), 100.0)).tolist() == pytest.approx([truth] * 4, rel=1e-5)
    assert d.sample().dtype == d.mean.dtype == torch.float32


def test_shapes_follow_pyro() -> None:
    d = mixture(5, 4)
    assert (d.batch_shape, d.event_shape) == ((4,), ())
    assert d.sample(torch.Size((3, 2))).shape == (3, 2, 4)
    assert d.log_prob(torch.zeros(6, 1, dtype=torch.float64)).shape == (6, 4)
    wide = d.expand(torch.Size((3, 4)))
    assert (wide.batch_shape, wide.sample().shape, wide.mean.shape) == ((3, 4), (3, 4), (3, 4))
    values = torch.randint(0, 5, (3, 4)).double()
    assert torch.equal(wide.log_prob(values), d.log_prob(values))
    assert torch.equal(d.enumerate_support(), torch.arange(5.0, dtype=torch.float64)[:, None].expand(5, 4))
    assert d.enumerate_support(expand=False).shape == (5, 1)
    assert d.to_event(1).log_prob(values).shape == (3,)


def test_pyro_samples_scores_and_enumerates_it() -> None:
    d = mixture(6, 4)
    observed = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)

    def model() -> None:
        with pyro.plate("image", 4):
            x = pyro.sample("x", d, infer={"enumerate": "parallel"})
            pyro.sample("y", pyro.distributions.Bernoulli(x / 5), obs=observed)

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    value = trace.nodes["x"]["value"]
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], d.log_prob(value))
    # Truth by a sum: p(y = 1) = E[x] / 5.
    one = d.mean / 5
    truth = torch.where(observed == 1, one, 1 - one).log().sum()
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)
    assert -loss == pytest.approx(truth.item())


def test_what_is_outside_is_refused() -> None:
    d = mixture(5, 2)
    for value in (0.5, -1.0, 5.0):
        with pytest.raises(ValueError, match="support"):
            d.log_prob(torch.full((2,), value))
    with pytest.raises(InvalidInput, match="levels 1"):
        DiscretizedLogisticMixture(torch.zeros(1), torch.zeros(1), torch.zeros(1), 1)
    with pytest.raises(ValueError, match="means"):
        DiscretizedLogisticMixture(torch.zeros(1), torch.full((1,), torch.nan), torch.zeros(1), 4)
