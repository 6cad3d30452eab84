"""The guides made of zuko's flows: their formula, what they cost, and what importing zuko may not change."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from ppl_models import InvalidInput
from ppl_models.guides.zuko_flow import KINDS, ZukoFlow
from tests.ppl_models.guides.amortized_families import lively, some_parameters, zuko_forward


def jacobian(guide: ZukoFlow, p: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Of the whole flow at one noise (L,), by central differences."""
    moves = 1e-6 * np.eye(len(noise))
    up, down = zuko_forward(guide, p, noise + moves), zuko_forward(guide, p, noise - moves)
    return ((up - down) / 2e-6).T


@pytest.mark.parametrize("kind", ["nsf", "nsf-coupling"])
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
@pytest.mark.parametrize("flows", [1, 2, 3])
def test_the_density_is_that_of_the_change_of_variables(latent_dim: int, flows: int, kind: str) -> None:
    """Also beyond 5, where the splines end, and for values that were not drawn."""
    guide = lively("zuko", latent_dim, flows=flows, kind=kind)
    parameters = some_parameters(guide, 3)
    for image, row in enumerate(parameters.numpy()):
        noise = np.random.default_rng(image).normal(size=(6, latent_dim)) * np.array([1, 1, 1, 1, 1, 4])[:, None]
        z = zuko_forward(guide, row, noise)
        truth = [stats.norm.logpdf(e).sum() - np.log(abs(np.linalg.det(jacobian(guide, row, e)))) for e in noise]
        found = guide.family(parameters).log_prob(torch.from_numpy(z)[:, None])[:, image]
        np.testing.assert_allclose(found.detach(), truth, rtol=1e-5)


def test_a_draw_is_the_flow_of_its_noise() -> None:
    guide = lively("zuko", 3)
    parameters = some_parameters(guide, 4)
    torch.manual_seed(5)
    z = guide.family(parameters).rsample()
    torch.manual_seed(5)
    noise = torch.randn(4, 3, dtype=torch.float64).numpy()
    for image, row in enumerate(parameters.numpy()):
        np.testing.assert_allclose(z[image].detach(), zuko_forward(guide, row, noise[image : image + 1])[0], rtol=1e-9)


def test_maf_with_one_latent_is_normal() -> None:
    """Its one affine map after the other is affine: moments from two points."""
    guide = lively("zuko", 1, kind="maf")
    posterior = guide.family(some_parameters(guide, 1)[0])
    low, high = (posterior.transforms[0](torch.tensor([e], dtype=torch.float64)).item() for e in (-1.0, 1.0))
    z = torch.linspace(-4, 4, 9, dtype=torch.float64)
    truth = stats.norm((low + high) / 2, (high - low) / 2).logpdf(z)
    np.testing.assert_allclose(posterior.log_prob(z[:, None]).detach(), truth, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_of_any_kind_fits_its_density(kind: str) -> None:
    guide = lively("zuko", 4, kind=kind)
    posterior = guide.family(some_parameters(guide, 5))
    torch.manual_seed(0)
    e = torch.randn(5, 4, dtype=torch.float64)
    push = posterior.transforms[0]
    for image, row in enumerate(some_parameters(guide, 5)):
        own = guide.family(row).transforms[0]
        matrix = torch.autograd.functional.jacobian(own, e[image])
        truth = stats.norm.logpdf(e[image]).sum() - torch.linalg.slogdet(matrix).logabsdet.item()
        found = posterior.log_prob(push(e).detach())[image]
        assert found.item() == pytest.approx(truth, rel=1e-8)


@pytest.mark.parametrize(("kind", "inverse"), [("nsf", 5 + 1), ("nsf-coupling", 2 + 1), ("maf", 5 + 1)])
def test_passes_of_a_draw_and_of_another_value(kind: str, inverse: int) -> None:
    guide, count = lively("zuko", 5, kind=kind), [0]
    for flow in guide.flows:
        flow.hyper[0].register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    posterior = guide.family(some_parameters(guide, 3))
    for q in (posterior, posterior.expand((4, 3))):
        count[0] = 0
        z = q.rsample()
        found = q.log_prob(z)
        assert count[0] == 2
        torch.testing.assert_close(q.log_prob(z.clone()), found)
        assert count[0] == 2 + 2 * inverse


def test_what_was_drawn_elsewhere_or_before_is_scored_afresh() -> None:
    guide = lively("zuko", 3)
    parameters = some_parameters(guide, 5)
    posterior, twin = guide.family(parameters), guide.family(parameters)
    first, second = posterior.rsample(), posterior.rsample((2,))
    for z in (first, second, first, twin.rsample()):
        torch.testing.assert_close(posterior.log_prob(z), guide.family(parameters).log_prob(z.clone()))


def test_the_second_flow_takes_the_latents_in_reversed_order() -> None:
    guide = lively("zuko", 4, flows=2)
    context, e = torch.randn(3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    for number, flow in enumerate(guide.flows):
        matrix = torch.autograd.functional.jacobian(flow(context), e)
        later, earlier = matrix.triu(1), matrix.tril(-1)
        assert ((earlier if number else later) == 0).all()
        assert (later if number else earlier).abs().max() > 0


def test_before_training_the_flows_are_nearly_the_identity() -> None:
    guide = ZukoFlow(4, 3)
    parameters = torch.zeros(guide.num_parameters())
    z = torch.randn(50, 3)
    truth = stats.norm.logpdf(z).sum(-1)
    np.testing.assert_allclose(guide.family(parameters).log_prob(z).detach(), truth, atol=0.05)


IMPORTED = """
import torch, ppl_models.guides, sys
from torch.distributions import Distribution, Normal
from ppl_models.guides import ZukoFlow
assert "zuko" not in sys.modules
torch.distributions.Distribution.set_default_validate_args({default})
before = dict(vars(Distribution))
ZukoFlow(4, 2).posterior(torch.zeros(3, 4)).rsample()
assert "zuko" in sys.modules and dict(vars(Distribution)) == before
try:
    Normal(0.0, -1.0)
except ValueError:
    print("refused")
"""


@pytest.mark.parametrize(("default", "printed"), [(True, "refused"), (False, "")])
def test_zuko_is_imported_late_and_validation_stays_as_it_was(default: bool, printed: str) -> None:
    """zuko itself switches the checks of every distribution off when it is imported."""
    code = IMPORTED.format(default=default)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed


def test_without_zuko_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zuko", None)  # as the import system marks what is not to be found
    with pytest.raises(InvalidInput) as caught:
        ZukoFlow(4, 2)
    problem = "is made of zuko's flows, and zuko is not installed"
    assert str(caught.value) == f"""guide 'ZukoFlow': {problem}; pip install ".[flows]\""""
