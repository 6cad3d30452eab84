"""Members of a study: what they say of a training reaches the job, and what no training has is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from inference.data import ImageData, load_data
from inference.studies import members
from inference.studies.members import Member, Plan, check_estimators, job_of, of_budget
from inference.studies.pools import Pool
from inference.train import prepare
from inference.training import default_training
from ppl_models.errors import InvalidInput
from ppl_models.guides import InverseAutoregressive

FULL = Member(
    "flow", "vae", ("elbo:4",), recipe_arguments={"hidden": (8,), "latent_dim": 2}, guide="InverseAutoregressive",
    guide_arguments={"hidden": (8,), "flows": 1}, objective="elbo", objective_arguments={"beta": 0.5},
    training={"epochs": 3, "learning_rate": 0.25},
)  # fmt: skip


@pytest.fixture
def data(tmp_path) -> ImageData:
    rng = np.random.default_rng(0)
    path = tmp_path / "bits.npz"
    np.savez(path, **{name: rng.integers(0, 2, (10, 6)).astype(np.uint8) for name in ("train", "valid", "test")})
    return load_data(str(path), None)


def made(data: ImageData, member: Member):
    plan = Plan("compare", "Why?", (member,), (0,), data.name, None, Path("study"), "quick", False, False)
    return job_of(plan, data, member, 7, "flow/seed-7")


def test_what_a_member_says_reaches_the_run(data, tmp_path) -> None:
    job = dataclasses.replace(made(data, FULL), out=tmp_path / "run")
    assert (job.seed, job.guide_class) == (7, InverseAutoregressive)
    config = prepare(job).config
    assert (config["recipe_arguments"]["hidden"], config["recipe_arguments"]["latent_dim"]) == ([8], 2)
    assert (config["guide"], config["guide_source"]) == ("InverseAutoregressive", "shipped")
    assert (config["guide_arguments"]["hidden"], config["guide_arguments"]["flows"]) == ([8], 1)
    assert (config["objective"], config["objective_arguments"]["beta"]) == ("elbo", 0.5)
    usual = default_training("vae", 10)
    assert job.settings() == dataclasses.replace(usual, epochs=3, learning_rate=0.25) != usual


def test_a_member_that_says_nothing_is_trained_as_from_the_command_line(data) -> None:
    job = made(data, Member("vae", "vae", ("elbo:4",)))
    assert (job.training, job.guide_class, job.objective) == (None, None, None)
    assert not job.recipe_arguments
    assert job.out == Path("study/flow/seed-7")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"guide": "InverseAutoregresive"}, ["--guide", "did you mean", "InverseAutoregressive"]),
        ({"guide_arguments": {"flow": 1}}, ["--guide.flow", "did you mean flows"]),
        ({"recipe_arguments": {"latentdim": 2}}, ["--recipe.latentdim", "did you mean latent_dim"]),
        ({"objective": "elb"}, ["--objective", "did you mean elbo"]),
        ({"objective_arguments": {"betta": 1.0}}, ["--objective.betta", "did you mean beta"]),
        ({"training": {"epoch": 3}}, ["--epoch", "unknown training setting", "did you mean epochs"]),
        ({"training": {"epochs": 0}}, ["--epochs", "at least 1"]),
    ],
)
def test_a_misspelt_member_is_refused_before_anything_is_trained(data, change, words) -> None:
    with pytest.raises(InvalidInput) as caught:
        prepare(made(data, dataclasses.replace(FULL, **change)))
    for word in words:
        assert word in str(caught.value)


def test_members_may_differ_by_budget() -> None:
    one, two = (FULL,), (FULL, FULL)
    assert of_budget(one, "quick") is one
    assert of_budget({"quick": one, "full": two}, "full") is two


def test_estimators_that_do_not_fit_are_refused_before_training(data, tmp_path, monkeypatch) -> None:
    member = dataclasses.replace(FULL, estimators=("elbo:4", "exact"))
    file, out = str(tmp_path / "bits.npz"), tmp_path / "study"
    plan = Plan("compare", "Why?", (member,), (0,), file, None, out, "quick", False, False)
    monkeypatch.setattr(members, "train", lambda *given, **options: pytest.fail("trained"))
    with pytest.raises(InvalidInput, match=r"--estimators 'exact': VAE has no exact log p\(x\)"):
        members.make_run(plan, member, 0, "flow/seed-0")
    with pytest.raises(InvalidInput, match=r"--estimators 'exact': VAE has no exact log p\(x\)"):
        members.run_plan(plan, Pool(), "study", print)
    check_estimators(made(data, FULL), FULL)
    baseline = Member("autoencoder", "autoencoder", ("exact", "elbo:4"))
    check_estimators(made(data, baseline), baseline)  # its refusals are written
