"""Scheduled sampling: its history against one drawn pixel by pixel, its optimum against the closed form."""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.objectives import OBJECTIVES, NegativeLogLikelihood, ScheduledSampling
from inference.objectives.scheduled_sampling import mixed_history
from inference.run import load_run
from inference.train import main
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.programs import FVSBN, MADE, VAE, IndependentPixels, OrderMixture

ORDERS = ["raster", "shifted:2", "random:3"]
Adam = partial(torch.optim.Adam, lr=0.05)


def lively(program: nn.Module) -> nn.Module:
    for parameter in program.parameters():
        nn.init.normal_(parameter, 0, 1.0)
    return program


def one_by_one(program: MADE, x: Tensor, own: Tensor, noise: Tensor) -> Tensor:
    """The definition: along the ordering, a pixel is the program's draw given the history so far, or the data's."""
    mixed = torch.full_like(x, torch.nan)
    for pixel in program.ordering.sequence:
        parameters = program.net(mixed.nan_to_num(0))[:, pixel]
        if program.levels == 2:
            drawn = (noise[:, pixel] >= 1 - torch.sigmoid(parameters[:, 0])).to(x)
        else:
            cumulative = torch.softmax(parameters, -1).cumsum(-1)[:, :-1]
            drawn = (noise[:, pixel : pixel + 1] >= cumulative).sum(-1).to(x)
        mixed[:, pixel] = torch.where(own[:, pixel], drawn, x[:, pixel])
    return mixed


@pytest.mark.parametrize("levels", [2, 5])
@pytest.mark.parametrize("ordering", ORDERS)
@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_the_history_is_the_one_drawn_pixel_by_pixel(levels: int, ordering: str, probability: float) -> None:
    program = lively(MADE(12, (30,), True, ordering, levels=levels)).double().eval()
    x = torch.randint(0, levels, (80, 12)).double()
    own, noise = torch.rand(80, 12) < probability, torch.rand(80, 12, dtype=torch.float64)
    found = mixed_history(program.distribution(), x, own, noise)
    assert torch.equal(found, one_by_one(program, x, own, noise))
    assert torch.equal(found[~own], x[~own])
    assert not torch.equal(found, x)
    assert not found.requires_grad


def test_a_history_all_its_own_is_a_sample_of_the_program() -> None:
    program = lively(MADE(12, (30,), True, "random:1")).double().eval()
    x, noise = torch.randint(0, 2, (50, 12)).double(), torch.rand(50, 12, dtype=torch.float64)
    sample = program.distribution().sample(torch.Size((50,)), method="sequential", noise=noise)
    assert torch.equal(mixed_history(program.distribution(), x, torch.ones_like(x).bool(), noise), sample)


def inputs_of_the_loss(program: MADE) -> list[tuple[Tensor, bool]]:
    """A list to which every pass of the net with gradients adds its input, and whether it was in training mode."""
    seen: list[tuple[Tensor, bool]] = []

    def record(net: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_grad_enabled():
            seen.append((inputs[0], net.training))

    program.net.register_forward_hook(record)
    return seen


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_each_pixel_of_each_image_is_its_own_with_the_probability(probability: float) -> None:
    program = MADE(20, (), False)
    with torch.no_grad():
        program.net.layers[-1].weight.zero_()
        program.net.layers[-1].bias.fill_(100.0)  # its own draw is white, the data are black
    seen = inputs_of_the_loss(program)
    ScheduledSampling(program, start=probability, end=probability)(torch.zeros(500, 20))
    drawn, variance = seen[0][0], probability * (1 - probability)
    assert drawn.mean().item() == pytest.approx(probability, abs=4 * (variance / drawn.numel()) ** 0.5)
    # One coin for an image, or for a pixel of all images, would make the counts vary 20 or 500 times as much.
    for dim, count in ((1, 20), (0, 500)):
        assert count * variance / 3 <= drawn.sum(dim).var().item() <= count * variance * 3


def test_the_loss_scores_the_data_given_the_mixed_history() -> None:
    program = lively(MADE(8, (20,))).double()
    objective = ScheduledSampling(program, start=0.6, end=0.6)
    x = torch.randint(0, 2, (30, 8)).double()
    torch.manual_seed(5)
    loss = objective(x)
    torch.manual_seed(5)
    own, noise = torch.rand_like(x) < 0.6, torch.rand_like(x)
    p = torch.sigmoid(program.net(one_by_one(program, x, own, noise))[..., 0])
    truth = -torch.where(x == 1, p, 1 - p).log().sum(-1).mean()
    torch.testing.assert_close(loss, truth)
    assert loss.item() != pytest.approx(-program.log_prob(x).mean().item(), rel=1e-3)


def test_gradients_reach_the_weights_through_the_scores_alone() -> None:
    program = lively(MADE(6, (20,)))
    objective = ScheduledSampling(program, start=1.0, end=1.0)
    objective(torch.randint(0, 2, (64, 6)).float()).backward()
    assert [name for name, p in program.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("frozen", [True, False])
def test_dropout_acts_on_the_scores_and_not_on_the_history(frozen: bool) -> None:
    program = lively(MADE(12, (40,), dropout=0.5)).double()
    if not frozen:  # as most nets: the same module, which the mode alone keeps from dropping units
        program.net.frozen = lambda: program.net
    objective = ScheduledSampling(program, start=1.0, end=1.0)
    x = torch.randint(0, 2, (40, 12)).double()
    torch.manual_seed(3)
    torch.rand_like(x)  # the coins
    noise = torch.rand_like(x)
    own = program.eval().distribution().sample(torch.Size((40,)), method="sequential", noise=noise)
    seen = inputs_of_the_loss(program)
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(objective.train()(x))
    assert all(torch.equal(history, own) and training for history, training in seen)
    assert all(module.training for module in objective.modules())
    assert losses[0] == losses[1], "the same noise"
    p = torch.sigmoid(program.eval().net(own)[..., 0])
    without = -torch.where(x == 1, p, 1 - p).log().sum(-1).mean()
    assert losses[0].item() != pytest.approx(without.item(), rel=1e-3)
    torch.manual_seed(3)
    torch.testing.assert_close(objective.eval()(x), without)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_probability_of_zero_is_maximum_likelihood_to_the_bit(dropout: float) -> None:
    x = torch.randint(0, 2, (100, 6)).float()
    states = []
    for build in (NegativeLogLikelihood, partial(ScheduledSampling, start=0.0, end=0.0)):
        torch.manual_seed(0)
        program = MADE(6, (16,), dropout=dropout)
        history = fit(build(program), x, Adam, epochs=3, batch_size=30, progress=False)
        states.append((program.state_dict(), [record["train_loss"] for record in history.records]))
    assert states[0][1] == states[1][1]
    assert all(torch.equal(states[0][0][key], states[1][0][key]) for key in states[0][0])


# ---- The schedule and its count.


@pytest.mark.parametrize(
    ("schedule", "halfway"),
    # A decay to 1/100 has come to 1/10 halfway. A sigmoid is odd about its middle.
    [("linear", 0.5), ("exponential", 0.9 / 0.99), ("sigmoid", 0.5)],
)
def test_the_probability_goes_from_start_to_end_and_stays(schedule: str, halfway: float) -> None:
    objective = ScheduledSampling(MADE(3, (4,)), start=0.2, end=0.6, updates=8, schedule=schedule)
    x, found = torch.zeros(2, 3), []
    for _ in range(11):
        found.append(objective.probability)
        objective(x)
    assert found[0] == pytest.approx(0.2)
    assert found[4] == pytest.approx(0.2 + 0.4 * halfway)
    assert found[8:] == pytest.approx([0.6] * 3)
    assert all(a < b for a, b in pairwise(found[:9]))


def test_schedules_in_closed_form() -> None:
    def at(schedule: str, count: int) -> float:
        objective = ScheduledSampling(MADE(3, (4,)), end=1.0, updates=10, schedule=schedule)
        objective.count.fill_(count)
        return objective.probability

    assert at("linear", 3) == pytest.approx(0.3)
    assert at("exponential", 1) == pytest.approx((1 - 0.01**0.1) / 0.99)
    low, value, high = (1 / (1 + math.exp(-z)) for z in (-5, -2, 5))
    assert at("sigmoid", 3) == pytest.approx((value - low) / (high - low))


def test_calls_in_training_are_counted_and_others_are_not() -> None:
    objective = ScheduledSampling(MADE(3, (4,)), start=0.5)
    x = torch.zeros(2, 3)
    objective.train()(x)
    objective(x)
    objective.eval()(x)
    assert objective.count.item() == 2
    assert not objective.program.training, "the mode is put back"
    assert "count" in objective.state_dict()


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_resumed_run_is_the_uninterrupted_one(epochs: int, tmp_path: Path) -> None:
    """The probability rises over all 20 updates: a count that began anew would change every one after the stop."""
    x = torch.randint(0, 2, (40, 6)).float()

    def train(folder: str, epochs: int, resume: bool = False) -> dict:
        torch.manual_seed(0)
        objective = ScheduledSampling(MADE(6, (16,), dropout=0.2), end=1.0, updates=20)
        (tmp_path / folder).mkdir(exist_ok=True)
        fit(objective, x, Adam, valid=x, epochs=epochs, batch_size=10, folder=tmp_path / folder, resume=resume,
            progress=False)  # fmt: skip
        return torch.load(tmp_path / folder / "checkpoint.pt", weights_only=True)

    whole = train("whole", 5)
    train("stopped", epochs)
    resumed = train("stopped", 5, resume=True)
    assert whole["last"]["count"].item() == resumed["last"]["count"].item() == 20
    for key in ("last", "best"):
        assert whole[key].keys() == resumed[key].keys()
        assert all(torch.equal(whole[key][name], resumed[key][name]) for name in whole[key])


# ---- Its optimum (Huszar 2015, 1511.05101).

# Of two binary pixels: counts of 00, 01, 10, 11 among 200 images.
COUNTS = [70, 20, 10, 100]


def two_pixels() -> Tensor:
    states = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return states.repeat_interleave(torch.tensor(COUNTS), 0)


def trained(program: nn.Module, objective: str, x: Tensor, probability: float = 0.0, steps: int = 600) -> nn.Module:
    """Full batches of many copies, then an average over the last weights: what noise is left is below a hundredth."""
    torch.manual_seed(0)
    options = {"start": probability, "end": probability} if objective == "scheduled-sampling" else {}
    fit(OBJECTIVES[objective](program, None, **options), x.repeat(10, 1), partial(torch.optim.Adam, lr=0.05),
        epochs=steps, batch_size=10 * len(x), average=0.99, progress=False)  # fmt: skip
    return program.eval()


def conditionals(program: nn.Module) -> list[float]:
    """p(x1 = 1), p(x2 = 1 | x1 = 0), p(x2 = 1 | x1 = 1)."""
    p = torch.sigmoid(program.net(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))[..., 0])
    return [p[0, 0].item(), p[0, 1].item(), p[1, 1].item()]


def test_maximum_likelihood_reaches_the_data() -> None:
    assert conditionals(trained(FVSBN(2), "nll", two_pixels())) == pytest.approx(
        [110 / 200, 20 / 90, 100 / 110], abs=0.005
    )


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_scheduled_sampling_reaches_something_else(probability: float) -> None:
    """With two pixels the optimum is (1 - p) p(x2 | x1) + p p(x2), once the first pixel has its marginal."""
    found = conditionals(trained(FVSBN(2), "scheduled-sampling", two_pixels(), probability))
    marginal = 120 / 200
    blend = [(1 - probability) * c + probability * marginal for c in (20 / 90, 100 / 110)]
    assert found == pytest.approx([110 / 200, *blend], abs=0.02)


def test_at_probability_one_the_joint_is_lost_and_exactly_that_is_paid() -> None:
    """Three pixels, each a copy of the one before nine times in ten: the price is their total correlation."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 2, (400, 1), generator=generator)
    flips = (torch.rand(400, 2, generator=generator) < 0.1).long().cumsum(-1)
    x = torch.cat([first, (first + flips) % 2], -1).float()
    counts = torch.unique(x, dim=0, return_counts=True)[1] / len(x)
    entropy = -(counts * counts.log()).sum().item()
    marginals = x.mean(0)
    independent = -(marginals * marginals.log() + (1 - marginals) * (1 - marginals).log()).sum().item()
    likely = trained(MADE(3, (16,)), "nll", x, steps=200)
    scheduled = trained(MADE(3, (16,)), "scheduled-sampling", x, 1.0, steps=300)
    assert -likely.log_prob(x).mean().item() == pytest.approx(entropy, abs=0.01)
    assert -scheduled.log_prob(x).mean().item() == pytest.approx(independent, abs=0.02)
    assert independent - entropy > 0.5


# ---- The script.

ARGUMENTS = ["--recipe", "made", "--recipe.hidden", "[8]", "--data", "digits", "--epochs", "1", "--quiet",
             "--device", "cpu", "--objective", "scheduled-sampling"]  # fmt: skip


def test_the_script_trains_with_it_and_the_run_loads(tmp_path: Path) -> None:
    main([*ARGUMENTS, "--objective.end", "0.5", "--objective.updates", "10", "--out", str(tmp_path / "run")])
    record = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[0])
    assert (record["valid_estimator"], record["valid_claim"]) == ("exact", "EXACT")
    assert record["train_loss_name"] == "ScheduledSampling"
    run = load_run(tmp_path / "run")
    assert run.config["objective"] == "scheduled-sampling"
    expected = {"start": 0.0, "end": 0.5, "updates": 10, "schedule": "linear"}
    assert {key: run.config["objective_arguments"][key] for key in expected} == expected
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["last"]["count"].item() == state["updates"] == record["updates"]
    assert torch.equal(run.program.net.layers[0].weight, state["best"]["program.net.layers.0.weight"])
    main(
        [*ARGUMENTS, "--objective.end", "0.5", "--objective.updates", "10", "--out", str(tmp_path / "run"), "--resume"]
    )


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("--objective.end 1.5", ["--objective.end 1.5", "[0, 1]"]),
        ("--objective.start -0.1", ["--objective.start -0.1", "[0, 1]"]),
        ("--objective.end nan", ["--objective.end", "nan"]),
        ("--objective.updates 0", ["--objective.updates 0", "at least 1"]),
        ("--objective.updates 1.5", ["--objective.updates", "1.5", "whole number"]),
        ("--objective.schedule lin", ["--objective.schedule 'lin'", "did you mean linear"]),
        ("--objective.stop 1", ["--objective.stop", "no such option"]),
    ],
)
def test_bad_lines_are_refused_before_anything_is_written(extra: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        main([*ARGUMENTS, *extra.split(), "--out", str(tmp_path / "run")])
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_only_one_autoregressive_density_has_a_history() -> None:
    with pytest.raises(NotADensityError):
        ScheduledSampling(NotADensity(Autoencoder(6, 2)))
    for program in (VAE(6, 2), IndependentPixels(6), OrderMixture(6, 2, (8,)), nn.Linear(2, 2)):
        with pytest.raises(InvalidInput, match=f"{type(program).__name__} is not one autoregressive density"):
            ScheduledSampling(program)
    with pytest.raises(InvalidInput, match="belongs to one ordering"):
        ScheduledSampling(MADE(6, (8,), cycle="orders"))
    assert ScheduledSampling(MADE(6, (8,), cycle="masks"))(torch.zeros(2, 6)).isfinite()
