"""The collapse monitor: closed forms, the one warning and when it is due, and training as it was without it."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from pyro.distributions import TransformedDistribution
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from inference import collapse_monitor, fit, load_data
from inference.collapse_monitor import CollapseMonitor, impossible, warning
from inference.history import summary
from inference.monitor import default_monitor
from inference.objectives import OBJECTIVES, NegativeElbo, NegativeLogLikelihood, ReleasedFreeBits
from inference.steps import STEPS
from ppl_models import guides
from ppl_models.guides import DiagonalNormal, InverseAutoregressive, LadderNormal, PyroAuto
from ppl_models.priors import VampPrior, make_prior
from ppl_models.programs import MADE, VAE, LadderVAE
from ppl_models.recipes import RECIPES
from tests.inference.measures.channels import GaussianChannel, WithoutMean, linear_program

Adam = partial(torch.optim.Adam, lr=0.01)


@pytest.fixture
def images() -> Tensor:
    return (torch.rand(60, 6) < 0.3).float()


def vae_objective(**options: object) -> NegativeElbo:
    torch.manual_seed(0)
    return NegativeElbo(VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,)), **options)


@pytest.mark.parametrize("kind", [GaussianChannel, WithoutMean])
def test_rate_and_active_units_are_those_of_the_closed_form(kind: type[GaussianChannel]) -> None:
    guide, x = kind([0.9, 0.0, 0.5], 0.7), torch.randn(1000, 4)
    found = CollapseMonitor(linear_program(guide), guide, x, 20_000, 0)()
    means = x[:, :3] * guide.gains
    rate = (0.5 * (0.49 - 1 - math.log(0.49) + means.square())).sum(1).mean()
    tolerance = 1e-5 if kind is GaussianChannel else 0.05
    assert found["rate"] == pytest.approx(float(rate), abs=tolerance)
    assert found["rate_claim"] == ("EXACT" if kind is GaussianChannel else "ESTIMATE")
    assert found["active_units"] == 2


def test_a_ladder_is_watched_by_its_traces() -> None:
    program, guide = LadderVAE(6, (3, 2), (8, 8)), LadderNormal(6, (3, 2), (8,))
    guide.bind(program)
    x = (torch.rand(80, 6) < 0.5).float()
    found = CollapseMonitor(program, guide, x, 100, 0)()
    evidence = guide.evidence(x)
    with torch.no_grad():
        top = guide.conditional(1, evidence[1], None)
        above = top.sample((4000,))
        upper = torch.distributions.kl_divergence(top, program.conditional(1, None))
        lower = torch.distributions.kl_divergence(
            guide.conditional(0, evidence[0], above), program.conditional(0, above)
        )
    assert found["rate"] == pytest.approx(float(upper.mean() + lower.mean()), abs=0.05)
    assert found["rate_claim"] == "ESTIMATE"
    assert found["active_units"] in range(6)


def test_it_looks_at_a_twentieth_of_the_images_and_is_the_same_every_time(images: Tensor) -> None:
    guide = InverseAutoregressive(6, 2, (8,))
    program = VAE(6, 2, (8,))
    guide.bind(program)
    for valid, train, expected in ((60, 100, 50), (30, 100, 30), (3000, 50_000, 1000), (3000, 2000, 100)):
        x = torch.zeros(valid, 6)
        assert len(CollapseMonitor(program, guide, x, train, 0).images) == expected
    monitor, state = CollapseMonitor(program, guide, images, 100, 0), torch.get_rng_state()
    assert monitor() == monitor()
    assert torch.equal(torch.get_rng_state(), state)
    assert program.training


def test_what_cannot_collapse_is_not_watched(images: Tensor) -> None:
    program = VAE(6, 2, (8,))
    pairs = [(MADE(6, (8,)), None), (program, None), (program, PyroAuto(6, 2)), (None, None)]
    for pair in pairs:
        assert collapse_monitor.collapse_monitor(*pair, images, 60, 0) is None
    guide = DiagonalNormal(6, 2, (8,))
    assert collapse_monitor.collapse_monitor(program, guide, None, 60, 0) is None
    assert collapse_monitor.collapse_monitor(program, guide, images[:1], 60, 0) is None
    assert collapse_monitor.collapse_monitor(program, guide, images, 60, 0) is not None
    record = fit(NegativeLogLikelihood(MADE(6, (8,))), images, Adam, valid=images, epochs=1, progress=False).records[0]
    assert "rate" not in record


RECORD = {"epoch": 3, "updates": 300, "rate": 0.49, "rate_claim": "EXACT", "active_units": 1}


@pytest.mark.parametrize(
    ("changes", "earlier", "factor", "due"),
    [
        ({}, [], 1.0, True),
        ({"rate": 0.5}, [], 1.0, False),
        ({"epoch": 2}, [], 1.0, False),
        ({"updates": 299}, [], 1.0, False),
        ({}, [], 0.99, False),  # the KL is still being warmed up
        ({}, [{"collapse_warning": "said"}, {}], 1.0, False),
        ({}, [{"rate": 0.1}], 1.0, True),
    ],
)
def test_the_warning_is_due_once_after_the_warm_up(changes: dict, earlier: list, factor: float, due: bool) -> None:
    text = warning(RECORD | changes, earlier, factor)
    assert bool(text) == due
    if due:
        assert "\n" not in text
        for words in ("0.490 nats per image (EXACT), below 0.5, with 1 active latent:", "see docs/collapse.md"):
            assert words in text
    assert warning({"epoch": 9, "updates": 900}, [], 1.0) == ""
    assert warning(RECORD | {"rate": -5.1}, [], 1.0) == ""


@pytest.mark.parametrize(
    ("changes", "earlier", "due"),
    [
        ({"rate": -5.1}, [], True),
        ({"rate": -5.0}, [], False),
        ({"rate": -5.1, "epoch": 1, "updates": 9}, [{}], True),
        ({"rate": -5.1}, [{"rate_warning": "said"}, {}], False),
        ({}, [], False),
    ],
)
def test_a_rate_that_no_divergence_can_be_is_told_once(changes: dict, earlier: list, due: bool) -> None:
    assert bool(impossible(RECORD | changes, earlier)) == due
    assert impossible({"epoch": 9, "updates": 900}, []) == ""


class Broken(WithoutMean):
    """A density whose values are 100 nats too low, as one that has lost its digits."""

    def posterior(self, x: Tensor) -> TorchDistribution:
        class Low(TransformedDistribution):
            def log_prob(self, value: Tensor) -> Tensor:
                return super().log_prob(value) - 100

        whole = super().posterior(x)
        return Low(whole.base_dist, whole.transforms)


def test_a_training_on_such_a_density_says_so_and_does_not_speak_of_collapse(images: Tensor) -> None:
    guide = Broken([0.5, 0.5], 0.7)
    guide.learned = torch.nn.Parameter(torch.zeros(()))
    monitor = collapse_monitor.collapse_monitor(linear_program(guide), guide, torch.randn(60, 3), 60, 0)
    found = monitor.after_epoch({"epoch": 4, "updates": 400}, [], torch.nn.Identity(), False)
    assert found["rate"] < -90
    assert set(found) == {"rate", "rate_claim", "active_units", "rate_warning"}
    assert set(monitor.after_epoch({"epoch": 5, "updates": 500}, [found], torch.nn.Identity(), False)) == {
        "rate", "rate_claim", "active_units",
    }  # fmt: skip


def test_every_cure_that_is_named_is_there() -> None:
    """Options are looked up where the command line looks them up; words of a list follow the option or an "or"."""
    tables = {"objective": OBJECTIVES, "recipe": RECIPES, "step": STEPS, "guide": vars(guides)}
    for option, table in tables.items():
        named = re.findall(rf"--{option} (\w+)((?:(?:,| or) \w+)*)", collapse_monitor.CURES)
        assert named
        for first, others in named:
            for name in (first, *re.findall(r"(?:,| or) (\w+)", others)):
                assert name in table, name
    NegativeElbo(VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,)), free_bits=0.1, free_bits_per="dim", schedule="cyclical")
    assert isinstance(make_prior("vamp:500", 2, data_dim=6), VampPrior)


def test_a_collapsed_training_says_so_once_in_the_history_and_on_the_log(
    images: Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"valid": images, "epochs": 7, "batch_size": 1, "folder": tmp_path}
    with caplog.at_level(logging.WARNING, "inference"):
        history = fit(vae_objective(beta=100.0), images, Adam, progress=False, **options)
    warned = [record["epoch"] for record in history.records if "collapse_warning" in record]
    assert warned == [5]  # the first with 300 updates
    assert [record.message for record in caplog.records] == [history.records[4]["collapse_warning"]]
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == history.records
    assert all(record["rate"] < 0.5 and record["active_units"] == 0 for record in history.records[2:])
    fit(vae_objective(beta=100.0), images, Adam, progress=True, **options)
    assert capsys.readouterr().err.count("posterior collapse: after epoch 5") == 1
    json.dumps(history.records, allow_nan=False)


def test_a_warm_up_is_waited_for(images: Tensor) -> None:
    objective = vae_objective(beta=100.0, schedule="linear", updates=360)
    history = fit(objective, images, Adam, valid=images, epochs=7, batch_size=1, progress=False)
    assert [record["epoch"] for record in history.records if "collapse_warning" in record] == [6]


def test_a_release_of_free_bits_is_waited_for(images: Tensor) -> None:
    """A floor of 1e-6 nats holds nothing: collapsed from the start, and told when the release is over."""
    torch.manual_seed(0)
    program, guide = VAE(6, 2, (8,)), DiagonalNormal(6, 2, (8,))
    with torch.no_grad():
        program.decoder[0].weight.zero_()
    objective = ReleasedFreeBits(program, guide, free_bits=1e-6, release=360)
    history = fit(objective, images, Adam, valid=images, epochs=7, batch_size=1, progress=False)
    assert history.records[4]["rate"] < 0.5
    assert [record["epoch"] for record in history.records if "collapse_warning" in record] == [6]


def test_a_live_code_is_not_warned_of(images: Tensor) -> None:
    history = fit(vae_objective(beta=0.0), images, Adam, valid=images, epochs=7, batch_size=1, progress=False)
    assert history.records[-1]["rate"] > 1
    assert history.records[-1]["active_units"] == 2
    assert not any("collapse_warning" in record for record in history.records)
    assert " nats (EXACT), 2 active, " in summary(history.records[-1])


def test_training_is_what_it_is_without_the_monitor(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = vae_objective()
    fit(watched, images, Adam, valid=images, epochs=3, batch_size=20, average=0.9, progress=False)
    monkeypatch.setattr("inference.loop.collapse_monitor", lambda *_: None)
    alone = vae_objective()
    fit(alone, images, Adam, valid=images, epochs=3, batch_size=20, average=0.9, progress=False)
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_rate_is_that_of_the_averaged_weights(images: Tensor) -> None:
    objective = vae_objective()
    history = fit(objective, images, Adam, valid=images, epochs=4, batch_size=20, average=0.95, progress=False)
    found = CollapseMonitor(objective.program, objective.guide, images, 60, 0)()  # fit leaves the best epoch's weights
    assert history.records[history.best_epoch - 1]["rate"] == pytest.approx(found["rate"], abs=1e-9)


def test_the_best_checkpoint_is_chosen_by_the_bound_at_beta_1_during_a_warm_up(images: Tensor) -> None:
    """With a beta near 0 the objective improves as the code gets expensive; the bound it is judged by falls."""
    objective = vae_objective(schedule="linear", updates=10**6)
    history = fit(objective, images, Adam, valid=images, epochs=40, batch_size=5, progress=False)
    losses = [record["train_loss"] for record in history.records]
    bounds = [record["valid_log_evidence"] for record in history.records]
    assert losses[-1] < min(losses[:10])
    assert history.best_epoch == 1 + bounds.index(max(bounds))
    assert history.best_epoch < 1 + losses.index(min(losses))
    judge = default_monitor(objective.program, objective.guide, images, 0)
    assert judge(objective) == pytest.approx(max(bounds), abs=1e-5)


@pytest.mark.bench
def test_it_costs_less_than_three_hundredths_of_an_epoch() -> None:
    digits = load_data("digits")
    program, guide = VAE(64, 16), DiagonalNormal(64, 16)
    objective = NegativeElbo(program, guide)
    history = fit(objective, digits, Adam, epochs=10, batch_size=50, progress=False)
    epoch = sorted(record["seconds"] for record in history.records)[5]
    monitor = CollapseMonitor(program, guide, digits.split("valid"), len(digits.split("train")), 0)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        monitor()
        times.append(time.perf_counter() - start)
    share = sorted(times)[25] / epoch
    print(f"collapse monitor: {1000 * sorted(times)[25]:.2f} ms, {share:.1%} of an epoch of {1000 * epoch:.0f} ms")
    assert share < 0.03
