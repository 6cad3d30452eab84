"""Cures: who takes part under which budget, and what each promises, on planted images where the answer is known."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference import fit
from inference.data import load_data
from inference.objectives import NegativeElbo, ReleasedFreeBits
from inference.run import Run
from inference.steps import AggressiveEncoder, mutual_information
from inference.studies import cure_checks, cures
from inference.studies.cures import ALONE, BUDGET, CURES, DECODER, PLAIN, STRONG, WIDTHS, find_cure, members
from inference.studies.members import Plan, job_of
from inference.train import build_job, prepare
from ppl_models import InvalidInput
from ppl_models.guides import BatchNormMean, DeltaNormal, DiagonalNormal, Guide, SemiAmortized
from ppl_models.programs import VAE

Adam = partial(torch.optim.Adam, lr=0.02)
QUICK = {each.member.name: each for each in CURES if each.quick}


def plan(budget: str = "quick") -> Plan:
    return Plan("collapse", "Which?", members(budget), (0, 1), "digits", None, Path("out"), budget, True, False)


# --- who takes part -------------------------------------------------------------------------------------------------


def test_the_quick_budget_has_one_strength_of_every_cure_and_the_full_one_all() -> None:
    quick, full = members("quick"), members("full")
    whats = Counter(find_cure(member.name).what for member in quick)
    assert set(whats.values()) == {1}
    assert {find_cure(member.name).what for member in full} - set(whats) == {"skip connections and free bits"}
    assert len({member.name for member in full}) == len(full) > len(quick)
    for words in (
        "linear warm-up", "cyclical warm-up", "free bits", "released free bits", "aggressive encoder",
        "semi-amortized guide", "committed rate (delta-VAE)", "batch-normalized mean", "InfoVAE with MMD",
        "skip connections", "VampPrior", "flow prior", "importance-weighted objective", "weaker decoder",
    ):  # fmt: skip
        assert words in whats
    assert {member.estimators for member in quick} == {("iw:200",), ("exact",)}
    for member in full:
        bounds = ("elbo:64", "iw:1000", *(["bdmc:100"] if member.name in QUICK else []))
        assert member.estimators == (("exact",) if member.name == "decoder" else bounds)


@pytest.mark.parametrize("each", CURES, ids=lambda each: each.member.name)
def test_every_member_fits_its_program_and_has_the_one_budget(each: cures.Cure) -> None:
    data = load_data("digits")
    prepared = prepare(job_of(plan(), data, each.member, 0, "x/seed-0"))
    settings = prepared.config["training"]
    longer = 3 if each.member.name == "plain_long" else 1
    assert (settings["epochs"], settings["learning_rate"]) == (longer * BUDGET["epochs"], BUDGET["learning_rate"])
    assert settings["patience"] is None
    if each.member.guide:
        assert prepared.config["guide_arguments"]["hidden"] == list(WIDTHS), "as wide as the pair's own"
    assert settings["batch_size"] == 50
    assert each.what
    assert each.setting


@pytest.mark.parametrize("each", [e for e in CURES if e.purpose in ("cure", "proposed")], ids=lambda e: e.member.name)
def test_a_cure_differs_from_the_plain_pair_in_what_it_is_named_for(each: cures.Cure) -> None:
    member, plain = each.member, PLAIN.member
    changed = {
        "recipe": {k for k, v in member.recipe_arguments.items() if plain.recipe_arguments.get(k) != v},
        "guide": {member.guide} - {None},
        "objective": {member.objective} - {None},
        "training": {k for k, v in member.training.items() if plain.training.get(k) != v},
    }
    parts = {part for part, names in changed.items() if names}
    combined = {"released_skip", "skip_warm_up", "skip_free_bits"}
    if member.name in combined:
        assert parts == {"recipe", "objective"}
    elif member.name == "vamp_prior":  # collapses at once where the divergence counts from the start
        assert (parts, changed["recipe"]) == ({"recipe", "objective"}, {"prior"})
    else:
        assert len(parts) == 1
        assert len(changed[parts.pop()]) == 1
    assert member.recipe == "pixel_vae"
    assert set(member.recipe_arguments) >= set(STRONG)


def test_the_decoder_alone_is_that_of_the_pair() -> None:
    assert ALONE.member.recipe_arguments == DECODER
    assert DECODER.items() <= STRONG.items()
    data = load_data("digits")
    alone, pair = (build_job(job_of(plan(), data, each.member, 0, "x/seed-0"))[0] for each in (ALONE, PLAIN))
    shapes = {name: p.shape for name, p in alone.named_parameters()}
    of_pair = {name: p.shape for name, p in pair.named_parameters() if name.startswith("net.")}
    assert {n: s for n, s in of_pair.items() if "context" not in n} == shapes


def test_an_unknown_cure_is_refused_with_the_known_ones() -> None:
    assert find_cure("free_bits").what == "free bits"
    with pytest.raises(InvalidInput, match=r"member .free_bit.: is no cure.*batch_norm"):
        find_cure("free_bit")


# --- planted: images of noise, which a code can say nothing about -----------------------------------------------------


@pytest.fixture
def noise() -> Tensor:
    return (torch.rand(200, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def rate_after(guide: Guide, objective: object, x: Tensor, epochs: int = 15) -> Tensor:
    """KL(q(z | x) || N(0, I)) of every image after training on them."""
    program = VAE(6, 2, (8,))
    guide.bind(program)
    fit(objective(program, guide), x, Adam, epochs=epochs, batch_size=40, progress=False, device="cpu")
    return cure_checks.rates(Run(Path(), program, guide, {}), x)


def test_where_there_is_nothing_to_say_the_floors_hold_and_the_others_fall_silent(noise: Tensor) -> None:
    torch.manual_seed(0)
    small = {"hidden": (8,)}
    plain = rate_after(DiagonalNormal(6, 2, (8,)), NegativeElbo, noise)
    assert plain.mean() < 0.05
    held = rate_after(DiagonalNormal(6, 2, (8,)), partial(NegativeElbo, free_bits=1.0), noise)
    assert 0.9 < held.mean() < 1.2
    dims = partial(NegativeElbo, free_bits=0.5, free_bits_per="dim")
    assert 0.9 < rate_after(DiagonalNormal(6, 2, (8,)), dims, noise).mean() < 1.3
    normalized = rate_after(BatchNormMean(6, 2, **small, gamma=0.8), NegativeElbo, noise)
    assert 0.9 * 0.64 < normalized.mean() < 1.5 * 0.64
    assert rate_after(DeltaNormal(6, 2, **small, rate=0.3), NegativeElbo, noise).min() > 0.6 - 1e-3
    released = partial(ReleasedFreeBits, free_bits=1.0, hold=20, release=20)
    assert rate_after(DiagonalNormal(6, 2, (8,)), released, noise, 20).mean() < 0.1
    warmed = partial(NegativeElbo, schedule="linear", updates=20)
    assert rate_after(DiagonalNormal(6, 2, (8,)), warmed, noise, 30).mean() < 0.15


def test_the_aggressive_encoder_is_ahead_of_the_plain_one_where_there_is_something_to_say() -> None:
    """A decoder that is told which of two images z means: after one epoch, its guide has found out."""
    found = {}
    for name, step in (("plain", None), ("aggressive", AggressiveEncoder(max_inner=40))):
        torch.manual_seed(0)
        program, guide = VAE(6, 1, ()), DiagonalNormal(6, 1, (8,))
        with torch.no_grad():
            for parameter in program.parameters():
                parameter.copy_(torch.full_like(parameter, 3.0) if parameter.ndim == 2 else torch.zeros_like(parameter))
        guide.bind(program)
        x = torch.stack([torch.zeros(6), torch.ones(6)]).repeat(50, 1)
        slow = partial(torch.optim.Adam, lr=0.003)
        fit(NegativeElbo(program, guide), x, slow, valid=x, epochs=1, batch_size=20, step=step, progress=False,
            device="cpu")  # fmt: skip
        found[name] = mutual_information(guide, x)
    assert found["aggressive"] > found["plain"] + 0.1


# --- checks of a run -------------------------------------------------------------------------------------------------


class Shifted(DiagonalNormal):
    """q(z | x) = N(m(x), 1): a rate of |m|^2 / 2, with m = 1 in every dimension where a pixel is on, else 1/2."""

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        loc = 0.5 + 0.5 * x[..., 2:3].expand(*x.shape[:-1], self.latent_dim)
        return dist.Normal(loc, torch.ones_like(loc)).to_event(1)


def shifted(tmp_path: Path, **config: dict) -> Run:
    base = {"recipe_arguments": {"latent_dim": 4}, "objective_arguments": {}, "guide_arguments": {}}
    lines = [{"epoch": epoch, "updates": 26 * epoch} for epoch in (1, 2, 3)]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(tmp_path, VAE(64, 4, (4,)), Shifted(64, 4, (4,)), base | config, epoch=2)


def true_rates(split: str) -> Tensor:
    on = load_data("digits").split(split)[:, 2].double()
    return 4 * (0.5 + 0.5 * on).square() / 2


@pytest.mark.parametrize("share", [0.899, 0.901])
def test_free_bits_are_held_to_nine_tenths_of_the_allowance(tmp_path: Path, share: float) -> None:
    data, rate = load_data("digits"), float(true_rates("train").mean())
    nats = rate / share
    for options in ({"free_bits": nats, "free_bits_per": "group"}, {"free_bits": nats / 4, "free_bits_per": "dim"}):
        found = cure_checks.free_bits_hold(shifted(tmp_path, objective_arguments=options), data)
        assert (found.value, found.bound) == pytest.approx((rate, 0.9 * nats))
        assert found.holds == (share > 0.9)


def test_the_floor_of_the_batch_norm_is_half_the_sum_of_squares(tmp_path: Path) -> None:
    data = load_data("digits")
    edge = (float(true_rates("train").mean()) / (0.9 * 2)) ** 0.5
    for gamma, holds in ((0.99 * edge, True), (1.01 * edge, False)):
        run = shifted(tmp_path, guide_arguments={"gamma": gamma})
        found = cure_checks.batch_norm_floor(run, data)
        assert found.bound == pytest.approx(0.9 * 4 * gamma**2 / 2)
        assert found.holds == holds


def test_a_committed_rate_is_asked_of_every_single_image(tmp_path: Path) -> None:
    data = load_data("digits")
    assert float(true_rates("test").min()) == 0.5 < float(true_rates("test").mean()) - 0.1
    for rate, holds in ((0.125, True), (0.126, False)):
        found = cure_checks.committed_rate(shifted(tmp_path, guide_arguments={"rate": rate}), data)
        assert (found.value, found.holds) == (pytest.approx(0.5), holds)


def test_schedules_are_over_at_the_epoch_whose_weights_are_kept(tmp_path: Path) -> None:
    """Epoch 2 of 3, after 52 updates."""
    for total, holds in ((52, True), (53, False)):
        run = shifted(tmp_path, objective_arguments={"hold": total - 10, "release": 10})
        assert cure_checks.bits_are_released(run, None).holds == holds
        run = shifted(tmp_path, objective_arguments={"delay": total - 10, "updates": 10})
        found = cure_checks.warmed_up(run, None)
        assert (found.value, found.bound, found.holds) == (52, total, holds)


def test_a_refinement_gains_if_it_goes_uphill(tmp_path: Path) -> None:
    data, program = load_data("digits"), VAE(64, 2, (8,))
    for size, holds in ((0.5, True), (-0.5, False)):
        guide = SemiAmortized(64, 2, hidden=(8,), steps=2, num_draws=4)
        guide.bind(program)
        with torch.no_grad():
            guide.log_step.fill_(-0.7)
            for parameter in program.parameters():
                parameter.mul_(2)
        if size < 0:
            refined = guide.posterior
            guide.posterior = lambda x, own=refined, g=guide: dist.Normal(
                2 * g.family(g.encode(x)).mean - own(x).mean, own(x).base_dist.scale
            ).to_event(1)
        found = cure_checks.refinement_gains(Run(tmp_path, program, guide, {}), data)
        assert found.holds == holds


class Jump(DiagonalNormal):
    """An encoder that answers N(1, I), refined to the prior itself."""

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(torch.zeros(len(x), self.latent_dim), 1.0).to_event(1)

    def family(self, parameters: Tensor) -> dist.TorchDistribution:
        return dist.Normal(torch.ones(len(parameters), self.latent_dim), 1.0).to_event(1)


def test_what_a_refinement_gains_where_z_is_not_read_is_the_divergence_it_saves(tmp_path: Path) -> None:
    program, guide = VAE(64, 3, ()), Jump(64, 3, ())
    with torch.no_grad():
        for parameter in program.parameters():
            parameter.zero_()
    found = cure_checks.refinement_gains(Run(tmp_path, program, guide, {}), load_data("digits"))
    assert found.value == pytest.approx(3 / 2)


def test_a_number_that_is_not_finite_is_null_in_the_file() -> None:
    found = cure_checks.reaches("w", float("nan"), 1.0)
    assert found.as_json() == {"what": "w", "value": None, "bound": 1.0, "holds": False}


def test_a_run_is_told_what_it_was_and_what_it_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shifted(tmp_path, objective_arguments={"free_bits": 0.4, "free_bits_per": "group"})
    monkeypatch.setattr(cures, "load_run", lambda folder: run)
    monkeypatch.setattr(cures, "write_probe", lambda of, data: probed.append((of, data.name)))
    probed: list = []
    cures.after_run(plan(), find_cure("free_bits").member, 0, tmp_path)
    content = json.loads((tmp_path / "cure.json").read_text())
    assert (content["cure"], content["purpose"]) == ("free bits", "cure")
    assert content["setting"] == "4 nats for the whole code"
    assert content["check"]["holds"]
    assert content["check"]["bound"] == pytest.approx(0.36)
    assert probed == [(run, "digits")]
    cures.after_run(plan(), find_cure("flow_prior").member, 0, tmp_path)
    assert json.loads((tmp_path / "cure.json").read_text())["check"] is None
