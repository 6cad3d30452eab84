"""Step rules: the aggressive encoder against a simulation by hand, mutual information against quadrature."""

from __future__ import annotations

import copy
import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import inference.steps
from inference import fit
from inference.loop import Loop, NonFiniteLossError
from inference.objectives import NegativeElbo, NegativeLogLikelihood, Objective
from inference.steps import STEPS, AggressiveEncoder, PlainStep, find_step, mutual_information
from ppl_models import InvalidInput
from ppl_models.guides import DiagonalNormal, Guide, LadderNormal
from ppl_models.programs import MADE, VAE, LadderVAE

Adam = partial(torch.optim.Adam, lr=0.01)


@pytest.fixture
def images() -> Tensor:
    return (torch.rand(60, 6) < 0.3).float()


def vae_objective() -> NegativeElbo:
    torch.manual_seed(0)
    return NegativeElbo(VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,)))


class Shifts(Guide):
    """q(z | x) = N(first pixel times a, s^2)."""

    def __init__(self, shift: float, scale: float) -> None:
        super().__init__(6, 1)
        self.shift, self.scale = nn.Parameter(torch.tensor(shift)), scale

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(x[:, :1] * self.shift, self.scale).to_event(1)


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (2.5, 0.7), (0.0, 1.0)])
def test_mutual_information_of_two_kinds_of_images_is_that_of_quadrature(shift: float, scale: float) -> None:
    x = torch.zeros(4000, 6, dtype=torch.float64)
    x[::4, 0] = 1.0  # a quarter of them
    grid = np.linspace(-8, 12, 4001)

    def density(mean: float) -> np.ndarray:
        return np.exp(-0.5 * ((grid - mean) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))

    parts, mixture = [(0.25, density(shift)), (0.75, density(0.0))], 0.25 * density(shift) + 0.75 * density(0.0)
    step = grid[1] - grid[0]
    ratios = [(p, q, np.log(np.maximum(q, 1e-300) / mixture)) for p, q in parts]
    truth = sum(p * (q * ratio).sum() * step for p, q, ratio in ratios)
    variance = sum(p * (q * ratio**2).sum() * step for p, q, ratio in ratios) - truth**2
    found = mutual_information(Shifts(shift, scale).double(), x)
    assert abs(found - truth) < 4 * math.sqrt(max(variance, 0) / 4000) + 1e-9


def test_mutual_information_is_capped_by_the_number_of_images() -> None:
    x = torch.zeros(50, 6, dtype=torch.float64)
    x[:, 0] = torch.arange(50)
    assert mutual_information(Shifts(1000.0, 1.0).double(), x) == pytest.approx(math.log(50))


def test_mutual_information_does_not_depend_on_the_chunks_and_has_the_noise_of_its_seed(images: Tensor) -> None:
    guide = DiagonalNormal(6, 2, (8,))
    values = [mutual_information(guide, images, 0, elements) for elements in (10**6, 7 * 120, 1)]
    assert values[1:] == pytest.approx([values[0]] * 2)
    state = torch.get_rng_state()
    assert mutual_information(guide, images, 0) == values[0]
    assert mutual_information(guide, images, 1) != values[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert guide.training


class Quadratic(Objective):
    """(a - mean x)^2 + (b - a)^2 + a b with a the program's parameter and b the guide's: no noise."""

    name = "quadratic"

    def __init__(self) -> None:
        program, guide = VAE(6, 1, (2,)), Shifts(0.5, 1.0)
        super().__init__(program, guide)
        self.program.a = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.program.a, self.guide.shift
        return (a - x.mean()).square() + (b - a).square() + a * b


def test_the_guide_goes_ahead_and_the_program_follows_alone(images: Tensor) -> None:
    objective = Quadratic()
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.5, weight_decay=0.01)
    step = AggressiveEncoder(window=3, max_inner=3)
    history = fit(objective, images, sgd, valid=images, epochs=1, batch_size=60, step=step, progress=False)
    a, b, momentum = 0.2, 0.5, 0.0
    for _ in range(3):
        momentum = 0.5 * momentum + 2 * (b - a) + a + 0.01 * b
        b -= 0.1 * momentum
    # The program's first step has no momentum yet, and its gradient is taken at the guide's new place.
    a -= 0.1 * (2 * (a - images.mean().item()) - 2 * (b - a) + b + 0.01 * a)
    assert objective.guide.shift.item() == pytest.approx(b, rel=1e-5)
    assert objective.program.a.item() == pytest.approx(a, rel=1e-5)
    record = history.records[0]
    assert (record["updates"], record["inner_updates"], record["aggressive"]) == (4, 3, True)
    assert record["mutual_information_cap"] == pytest.approx(math.log(60))


def scripted_loop(losses: list[float]) -> SimpleNamespace:
    """A loop whose steps return the losses, and that remembers what was asked of it."""
    asked: list[tuple[str, int]] = []
    loop = SimpleNamespace(asked=asked, random_batch=lambda: torch.zeros(4, 1))

    def descend(images: Tensor, number: int, still: object = ()) -> float:
        asked.append((still, len(images)))
        return losses[len(asked) - 1]

    loop.descend = descend
    return loop


@pytest.mark.parametrize(
    ("losses", "inner"),
    [
        ([5.0, 5.0, 4.0, 4.0, 4.1, 4.1], 6),  # the third window is no lower than the second
        ([5.0, 3.0, 4.0, 4.0], 4),  # equal means
        ([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0], 7),  # the limit
    ],
)
def test_the_guide_steps_until_a_window_is_no_better_than_the_one_before(losses: list[float], inner: int) -> None:
    step = AggressiveEncoder(window=2, max_inner=7)
    step.of_guide, step.of_program = "guide", "program"
    loop = scripted_loop([*losses, 1.5])
    # The first batch is the epoch's, of the same size as the random ones here.
    assert step.update(loop, torch.zeros(4, 1), 0) == 1.5
    assert loop.asked == [("program", 4)] * inner + [("guide", 4)]


def test_the_mean_of_a_window_counts_images(images: Tensor) -> None:
    step = AggressiveEncoder(window=2, max_inner=4)
    step.of_guide, step.of_program = "guide", "program"
    # A first batch of one image: (1 * 9 + 4 * 1) / 5 = 2.6 is less than the 3 of the next window, 5 is not.
    loop = scripted_loop([9.0, 1.0, 3.0, 3.0, 0.0])
    step.update(loop, torch.zeros(1, 1), 0)
    assert loop.asked == [("program", 1)] + [("program", 4)] * 3 + [("guide", 1)]
    assert step.inner == 4


def test_the_aggressive_phase_ends_when_the_information_stops_rising(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    values = iter([0.3, 0.5, 0.5])

    def scripted(guide: Guide, x: Tensor, seed: int) -> float:
        asked.append((x.clone(), seed))
        return next(values)

    monkeypatch.setattr(inference.steps, "mutual_information", scripted)
    valid = 1 - images[:25]
    step = AggressiveEncoder(window=1, max_inner=2, num_images=10)
    history = fit(
        vae_objective(), images, Adam, valid=valid, epochs=5, batch_size=20, step=step, seed=4, progress=False
    )
    assert [record["aggressive"] for record in history.records] == [True, True, True, False, False]
    assert [record.get("mutual_information") for record in history.records] == [0.3, 0.5, 0.5, None, None]
    for x, seed in asked:
        assert torch.equal(x, valid[::3])
        assert seed == 4
    updates = [record["updates"] for record in history.records]
    assert updates[2] == 9 + sum(record["inner_updates"] for record in history.records[:3])
    assert updates[3:] == [updates[2] + 3, updates[2] + 6]
    json.dumps(history.records, allow_nan=False)


def test_the_speed_counts_every_image_that_was_learned_from(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.loop.time", SimpleNamespace(monotonic=iter(range(10**6)).__next__))
    speeds = []
    for step in (PlainStep(), AggressiveEncoder(window=3, max_inner=3)):
        history = fit(vae_objective(), images, Adam, valid=images, epochs=1, batch_size=20, step=step, progress=False)
        speeds.append(history.records[0]["images_per_second"] * history.records[0]["seconds"])
    assert speeds == pytest.approx([60, 240])


def test_inner_steps_count_in_schedules_and_averages(images: Tensor) -> None:
    torch.manual_seed(0)
    objective = NegativeElbo(VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,)), schedule="linear", updates=100)
    counts = []

    class Watched(AggressiveEncoder):
        def after_epoch(self, loop: Loop) -> dict:
            counts.append((loop.updates, loop.average.updates, int(loop.objective.schedule.count)))
            return super().after_epoch(loop)

    step = Watched(window=2, max_inner=4)
    fit(objective, images, Adam, valid=images, epochs=1, batch_size=20, average=0.9, step=step, progress=False)
    assert len(set(counts[0])) == 1
    assert counts[0][0] > 3 * 2


class Stop(Exception):
    """Stands for the kill of a process."""


@pytest.mark.parametrize("killed", [2, 4])
def test_a_resumed_run_equals_the_uninterrupted_one(
    killed: int, tmp_path: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.loop.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    settings = {"valid": images[:20], "epochs": 6, "batch_size": 25, "average": 0.9, "progress": False}

    class Ends(AggressiveEncoder):
        """Aggressive for three epochs; told of the end of epoch ``killed``, the process dies."""

        die = False

        def after_epoch(self, loop: Loop) -> dict:
            if self.die and loop.epoch == killed:
                raise Stop
            record = super().after_epoch(loop)
            self.aggressive = self.aggressive and loop.epoch < 3
            return record

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = vae_objective()
    expected = fit(whole, images, Adam, folder=tmp_path / "whole", step=Ends(2, 6), **settings)
    step = Ends(2, 6)
    step.die = True
    with pytest.raises(Stop):
        fit(vae_objective(), images, Adam, folder=tmp_path / "parts", step=step, **settings)
    parts = vae_objective()
    found = fit(parts, images, Adam, folder=tmp_path / "parts", step=Ends(2, 6), resume=True, **settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(parts.state_dict()[name], value), name
    keys = ("epoch", "updates", "train_loss", "valid_log_evidence", "aggressive")
    assert [[r[k] for k in keys] for r in found.records] == [[r[k] for k in keys] for r in expected.records]
    informed = [r.get("mutual_information") for r in expected.records]
    assert [r.get("mutual_information") for r in found.records] == informed
    assert None not in informed[:2]


def test_the_state_holds_the_phase_and_the_information() -> None:
    step, other = AggressiveEncoder(), AggressiveEncoder()
    step.aggressive, step.information = False, 1.25
    other.load_state_dict(json.loads(json.dumps(step.state_dict())))
    assert (other.aggressive, other.information) == (False, 1.25)
    other = AggressiveEncoder()
    other.load_state_dict({})  # a checkpoint from before there were step rules
    assert (other.aggressive, other.information) == (True, -math.inf)


def test_a_rule_forgets_the_training_before(images: Tensor) -> None:
    step = AggressiveEncoder(window=1, max_inner=1)
    for _ in range(2):
        step.aggressive = False
        history = fit(vae_objective(), images, Adam, valid=images, epochs=1, step=step, progress=False)
        assert history.records[0]["aggressive"]


def test_a_plain_step_is_what_there_was_before(images: Tensor) -> None:
    states = []
    for options in ({}, {"step": PlainStep()}):
        objective = vae_objective()
        history = fit(objective, images, Adam, valid=images, epochs=2, progress=False, **options)
        states.append(copy.deepcopy(objective.state_dict()))
        assert "aggressive" not in history.records[0]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_parameters_can_be_trained_again_after_every_step(images: Tensor) -> None:
    objective = vae_objective()
    objective.program.decoder[0].bias.requires_grad_(False)
    before = copy.deepcopy(objective.state_dict())
    fit(objective, images, Adam, valid=images, epochs=2, step=AggressiveEncoder(1, 2), progress=False)
    fixed = [n for n, p in objective.named_parameters() if not p.requires_grad]
    assert fixed == ["program.decoder.0.bias"]
    same = [n for n, value in objective.state_dict().items() if torch.equal(value, before[n])]
    assert same == fixed


class Breaking(DiagonalNormal):
    """NaN at its fourth call in training."""

    calls = 0

    def encode(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().encode(x) * (torch.nan if self.calls >= 4 else 1.0)


def test_a_loss_that_is_not_finite_is_named_in_an_inner_step(images: Tensor) -> None:
    objective = NegativeElbo(VAE(6, 2, (8,)), Breaking(6, 2, (8,)), kl="sampled")
    with pytest.raises(NonFiniteLossError, match="epoch 1, batch 0: site 'z' of the guide"):
        fit(objective, images, Adam, valid=images, step=AggressiveEncoder(5, 5), progress=False)


class Fixed(Guide):
    """Nothing to train."""

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(x[:, :2] * 0, 1.0).to_event(1)


def test_what_has_no_guide_to_train_ahead_is_refused_before_training(images: Tensor) -> None:
    ladder, own = LadderVAE(6, (2, 1), (4, 4)), LadderNormal(6, (2, 1), (4,))
    own.bind(ladder)
    cases = [
        (NegativeElbo(ladder, own), images, r"--step 'aggressive': the guide \(LadderNormal\) has no posterior"),
        (NegativeLogLikelihood(MADE(6)), images, r"the guide \(none\) has no posterior"),
        (vae_objective(), None, "no validation images.*use plain"),
        (NegativeElbo(VAE(6, 2), Fixed(6, 2)), images, "the guide has no parameters"),
    ]
    for objective, valid, message in cases:
        with pytest.raises(InvalidInput, match=message):
            fit(objective, images, Adam, valid=valid, step=AggressiveEncoder(), progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "--step.window 0"),
        ({"window": 20, "max_inner": 10}, "--step.window 20.*give 1 to max_inner"),
        ({"num_images": 1}, "--step.num_images 1"),
    ],
)
def test_options_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        AggressiveEncoder(**options)


def test_rules_are_found_by_name() -> None:
    assert {name: type(find_step(name)()) for name in STEPS} == {"plain": PlainStep, "aggressive": AggressiveEncoder}
    with pytest.raises(InvalidInput, match=r"--step 'agressive'.*did you mean aggressive"):
        find_step("agressive")
