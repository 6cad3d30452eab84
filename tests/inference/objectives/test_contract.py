"""What every objective keeps: one line here buys a new objective these tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from inference import fit
from inference.objectives import OBJECTIVES, Objective, PyroElbo, find_objective
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.guides import DiagonalNormal, LadderNormal
from ppl_models.guides.inverse_autoregressive import InverseAutoregressive
from ppl_models.priors import VampPrior
from ppl_models.programs import VAE, LadderVAE

# Name and options of every objective of a continuous latent; the others have tests of their own.
LATENT: list[tuple[str, dict[str, Any]]] = [
    ("elbo", {}),
    ("elbo", {"beta": 0.5, "num_particles": 2}),
    ("elbo", {"free_bits": 1e-6, "free_bits_per": "dim", "schedule": "cyclical", "updates": 8, "cycles": 2}),
    ("released", {"free_bits": 1e-6, "release": 8}),
    ("iwae", {"num_particles": 4}),
    ("iwae", {"num_particles": 4, "gradient": "stl"}),
    ("iwae", {"num_particles": 4, "gradient": "dreg"}),
    ("mmd", {}),
    ("mmd", {"alpha": 0.5, "kernel": "imq", "num_particles": 2}),
    ("pyro", {}),
    ("pyro", {"elbo": "TraceMeanField_ELBO", "num_particles": 2}),
    ("pyro", {"elbo": "TraceEnum_ELBO"}),
]
ELSEWHERE = {"nll", "linear-elbo", "reconstruction", "scheduled-sampling", "trace-enum"}


def pair(seed: int = 0) -> tuple[VAE, DiagonalNormal]:
    torch.manual_seed(seed)
    return VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,))


def ladder() -> tuple[LadderVAE, LadderNormal]:
    return LadderVAE(6, (2, 1), (4, 4)), LadderNormal(6, (2, 1), (4,))


def vamp_flow() -> tuple[VAE, InverseAutoregressive]:
    program = VAE(6, 2, (8,), prior=VampPrior(2, 6, components=3))
    return program, InverseAutoregressive(6, 2, (8,), flow_hidden=(4,), context_dim=2)


@pytest.fixture
def images() -> Tensor:
    return (torch.rand(50, 6) < 0.4).float()


def names(objectives: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [" ".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in objectives]


every = pytest.mark.parametrize(("name", "options"), LATENT, ids=names(LATENT))


def test_every_objective_is_in_a_list() -> None:
    assert {name for name, _ in LATENT} | ELSEWHERE == set(OBJECTIVES) - {"code-density"}


@every
def test_it_trains_every_parameter_of_a_pair_and_leaves_no_trace(name: str, options: dict, images: Tensor) -> None:
    objective = find_objective(name)(*pair(), **options)
    before = {key: value.clone() for key, value in objective.named_parameters()}
    loss = objective(images)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    # The last batch of an epoch has one image.
    fit(objective, images[:41], partial(torch.optim.Adam, lr=0.01), epochs=2, batch_size=20, progress=False)
    assert [key for key, value in objective.named_parameters() if torch.equal(value, before[key])] == []
    assert all(p.requires_grad for p in objective.parameters())


@every
@pytest.mark.parametrize("make", [ladder, vamp_flow])
def test_it_takes_ladders_flows_and_priors_made_from_the_guide(
    make: Callable, name: str, options: dict, images: Tensor
) -> None:
    program, guide = make()
    guide.bind(program)
    refused = (make is ladder and name == "mmd") or (make is vamp_flow and options.get("free_bits_per") == "dim")
    if refused:
        with pytest.raises(InvalidInput):
            find_objective(name)(program, guide, **options)
        return
    objective = find_objective(name)(program, guide, **options)
    objective(images)  # a schedule's first factor is 0
    gradient = torch.autograd.grad(objective(images), list(objective.parameters()))
    assert all(part.isfinite().all() and part.any() for part in gradient)


@every
def test_it_works_in_double_precision(name: str, options: dict, images: Tensor) -> None:
    objective = find_objective(name)(*pair(), **options).double()
    assert objective(images.double()).dtype == torch.float64


@every
def test_two_instances_side_by_side_both_move(name: str, options: dict, images: Tensor) -> None:
    states = []
    for partner in (False, True):
        objectives = [find_objective(name)(*pair(seed), **options) for seed in ((1, 2) if partner else (1,))]
        optimizer = torch.optim.Adam([p for objective in objectives for p in objective.parameters()], lr=0.01)
        for step in range(3):
            for objective in objectives:
                torch.manual_seed(step)
                objective(images).backward()
            optimizer.step()
            optimizer.zero_grad()
        states.append(objectives[0].state_dict())
        assert not any(
            torch.equal(p, q)
            for p, q in zip(*[list(pair(2)[0].parameters()), list(objectives[-1].program.parameters())], strict=True)
        )
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@every
def test_the_deterministic_autoencoder_and_a_missing_guide_are_refused(name: str, options: dict) -> None:
    with pytest.raises(NotADensityError):
        find_objective(name)(NotADensity(Autoencoder(6, 2)), None, **options)
    with pytest.raises(InvalidInput, match="no latents and so no guide"):
        find_objective(name)(pair()[0], None, **options)


@every
def test_a_misfit_is_named_before_training(name: str, options: dict, images: Tensor) -> None:
    torch.manual_seed(0)
    with pytest.raises(InvalidInput, match="DiagonalNormal"):
        objective = find_objective(name)(VAE(6, 2, (8,)), DiagonalNormal(6, 3, (8,)), **options)
        fit(objective, images, torch.optim.Adam, epochs=1, progress=False)


class Constant(Objective):
    """An objective of a user: a number."""

    name = "constant"

    def __init__(self, program: nn.Module) -> None:
        super().__init__(program)
        self.value = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.square()


def test_a_users_objective_is_any_module_that_returns_a_loss(images: Tensor) -> None:
    objective = Constant(pair()[0])
    fit(objective, images, partial(torch.optim.SGD, lr=0.1), epochs=1, batch_size=50, progress=False)
    assert objective.value.item() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("elbo", "message"),
    [
        ("RenyiELBO", "inside its log-sum-exp.*use iwae"),
        ("TraceGraph_ELBO", "no differentiable loss"),
        ("TraceTailAdaptive_ELBO", "images share weights"),
        ("ReweightedWakeSleep", "two losses"),
        ("Trace_Elbo", "did you mean Trace_ELBO"),
    ],
)
def test_pyros_elbos_that_do_not_fit_are_refused_with_the_reason(elbo: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"--objective.elbo '{elbo}'.*{message}"):
        find_objective("pyro")(*pair(), elbo=elbo)


def test_a_named_elbo_is_pyros_own(images: Tensor) -> None:
    program, guide = pair()
    named = find_objective("pyro")(program, guide)
    assert type(named) is PyroElbo
    losses = []
    for objective in (named, PyroElbo(program, guide, Trace_ELBO())):
        torch.manual_seed(1)
        losses.append(objective(images))
    assert torch.equal(*losses)


class Unscored(DiagonalNormal):
    """Draws that no gradient passes."""

    def posterior(self, x: Tensor) -> object:
        from tests.inference.objectives.pairs import ScoredNormal

        normal = super().posterior(x).base_dist
        return ScoredNormal(normal.loc, normal.scale).to_event(1)


def test_an_integrated_divergence_refuses_draws_without_gradient() -> None:
    with pytest.raises(InvalidInput, match=r"--objective.elbo 'TraceMeanField_ELBO': Unscored is not reparameterized"):
        find_objective("pyro")(VAE(6, 2), Unscored(6, 2), elbo="TraceMeanField_ELBO")
