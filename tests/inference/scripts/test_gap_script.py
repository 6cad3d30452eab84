"""``inference.evaluate --gap``: the file holds what was found with its claims, wrong input leaves nothing behind."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
import xarray as xr

from inference import load_data, load_run
from inference.evaluate import evaluate
from inference.gaps import GapSettings

SMALL = ["--recipe.hidden", "[8]", "--recipe.latent_dim", "2"]
QUICK = ["--gap", "--gap.steps", "12", "--gap.final_particles", "60"]


@pytest.fixture(scope="module")
def folder(settings, call, tmp_path_factory):
    """Runs of pairs whose gap can be split, and of some whose cannot."""
    out = tmp_path_factory.mktemp("gaps")
    call("train", "--recipe", "vae", *SMALL, *settings, "--out", out / "vae")
    call("train", "--recipe", "made", "--recipe.hidden", "[8]", *settings, "--out", out / "made")
    call("train", "--recipe", "discrete_vae", *SMALL, *settings, "--out", out / "discrete_vae")
    call("train", "--recipe", "linear_vae", "--recipe.latent_dim", "2", *settings, "--guide", "DiagonalNormal",
         "--out", out / "linear_vae")  # fmt: skip
    return out


@pytest.fixture
def run(folder, tmp_path):
    """``run(name)``: a copy of a run for a test to write to."""
    return lambda name: shutil.copytree(folder / name, tmp_path / name)


def read(run) -> xr.Dataset:
    return xr.load_dataset(run / "gap.nc", engine="h5netcdf")


def log_evidence(run, indices) -> np.ndarray:
    """log p(x) of a one-hidden-layer VAE with two latents, by the trapezoidal rule in numpy."""
    loaded = load_run(run)
    layers = [m for m in loaded.program.decoder.modules() if isinstance(m, torch.nn.Linear)]
    weights = [(m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in layers]
    nodes = np.linspace(-7, 7, 281)
    z = np.array(list(itertools.product(nodes, nodes)))
    logits = np.tanh(z @ weights[0][0].T + weights[0][1]) @ weights[1][0].T + weights[1][1]
    x = load_data(loaded.config["data"]).split("test").double().numpy()[indices]
    log_joint = x @ logits.T - np.logaddexp(0, logits).sum(1) - (z**2).sum(1) / 2 - np.log(2 * np.pi)
    return np.log(np.exp(log_joint).sum(1)) + 2 * np.log(nodes[1] - nodes[0])


def test_the_file_and_the_table(run, call) -> None:
    run = run("vae")
    printed = call("evaluate", run, "--quiet", "--estimators", "elbo:4", "quadrature", *QUICK, "--gap.images", 5)
    found = read(run)
    assert found.image.values.tolist() == list(range(5))
    assert found.attrs["lower_source"] == found.attrs["upper_source"] == "quadrature (NUMERICAL)"
    assert (found.attrs["steps"], found.attrs["final_particles"], found.attrs["split"]) == (12, 60, "test")
    truth = log_evidence(run, range(5))
    assert np.abs(found.log_evidence_lower.values - truth).max() < 5e-4
    assert np.all(found.log_evidence_lower < found.log_evidence_upper)
    differences = {
        "gap_lower": found.log_evidence_lower - found.elbo, "gap_upper": found.log_evidence_upper - found.elbo,
        "amortization_gap_lower": found.best_elbo - found.elbo,
        "approximation_gap_upper": found.log_evidence_upper - found.best_elbo,
        "approximation_gap_if_converged": found.log_evidence_lower - found.best_elbo,
    }  # fmt: skip
    for name, values in differences.items():
        assert np.allclose(found[name], values, atol=1e-6), name
        assert np.all(found[f"{name}_stderr"] > 0), name
        claim = "at most" if name.endswith("upper") else "at least"
        lines = [line for line in printed.splitlines() if f"{values.mean().item():.3f} " in line and claim in line]
        assert lines, (name, printed)
    assert not list(run.glob("*.tmp"))


def test_what_is_not_known_is_said(run, call) -> None:
    run = run("vae")
    printed = call("evaluate", run, "--quiet", "--estimators", "iw:20", *QUICK, "--limit", 4)
    assert read(run).gap_upper.isnull().all()
    lines = [line for line in printed.splitlines() if "not known" in line]
    assert [line[:30].strip() for line in lines] == ["log p(x)", "gap of the ELBO", "approximation gap"]
    assert all("at most" in line for line in lines)


def test_a_closed_form_is_printed_beside_what_was_found(run, call) -> None:
    run = run("linear_vae")
    printed = call("evaluate", run, "--quiet", "--estimators", "exact", *QUICK, "--limit", 4)
    program = load_run(run).program
    weight, sigma = (t.detach().double().numpy() for t in (program.weight, program.scale))
    precision = np.eye(2) + weight.T @ weight / sigma**2
    known = (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1]) / 2
    assert read(run).attrs["approximation_gap_closed_form"] == pytest.approx(known, abs=1e-6)
    assert f"{known:.3f}" in next(line for line in printed.splitlines() if "in closed form" in line)


def test_a_file_that_is_there_is_replaced_only_when_told(run, call, expect_refused, untouched) -> None:
    run = run("vae")
    options = [run, "--quiet", "--estimators", "elbo:4", *QUICK, "--limit", 3]
    call("evaluate", *options)
    with untouched(run):
        expect_refused("evaluate", options, "--gap", "gap.nc", "is there already", "--overwrite")
    call("evaluate", *options, "--gap.images", 2, "--overwrite")
    assert read(run).sizes["image"] == 2
    call("evaluate", *options, "--split", "valid")
    assert xr.load_dataset(run / "gap-valid.nc", engine="h5netcdf").attrs["split"] == "valid"


def test_a_study_that_goes_on_keeps_the_same_answer_and_no_other(run) -> None:
    run, few = run("vae"), GapSettings(steps=3, final_particles=10)
    data, path = load_data(load_run(run).config["data"]), run / "gap.nc"

    def score(names, settings, limit):
        evaluate(load_run(run), data, names, limit=limit, gap=settings, resume=True)
        return path.stat().st_mtime_ns

    first = score(["iw:3"], few, 3)
    assert score(["iw:3"], few, 3) == first
    others = [score(["iw:3"], few, 4), score(["iw:3"], GapSettings(steps=4, final_particles=10), 4),
              score(["iw:9"], GapSettings(steps=4, final_particles=10), 4)]  # fmt: skip
    assert len({first, *others}) == 4


def test_values_are_those_of_the_seed_of_the_run_and_of_the_image(run, call) -> None:
    one = run("vae")
    call("evaluate", one, "--quiet", "--estimators", "iw:5", *QUICK, "--limit", 6)
    whole = read(one)
    call("evaluate", one, "--quiet", "--estimators", "iw:5", *QUICK, "--limit", 3, "--overwrite")
    for name in ("elbo", "best_elbo", "gap_lower", "amortization_gap_lower"):
        assert np.allclose(read(one)[name], whole[name][:3], atol=1e-4), name


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ("made", "--gap", ["--gap", "MADE", "no latents", "leave it out"]),
        ("discrete_vae", "--gap", ["--gap", "no gradient", "enumerate"]),
        ("vae", "--gap.steps 4", ["--gap.steps", "4", "add --gap"]),
        ("vae", "--gap --gap.step 4", ["--gap.step", "4", "did you mean steps"]),
        ("vae", "--gap --gap.steps 0", ["--gap.steps", "0", "at least 1"]),
        ("vae", "--gap --gap.final_particles 1", ["--gap.final_particles", "1", "at least 2"]),
        ("vae", "--gap --gap.learning_rate 0", ["--gap.learning_rate", "0", "positive"]),
        ("vae", "--gap --gap.learning_rate nan", ["--gap.learning_rate", "finite number"]),
        ("vae", "--gap --gap.steps many", ["--gap.steps", "many", "whole number"]),
        ("vae", "--gap --limit 3 --gap.images 4", ["--gap.images", "4", "only 3 images", "larger --limit"]),
    ],
)
def test_refused_and_nothing_written(recipe, options, words, run, expect_refused, untouched) -> None:
    run = run(recipe)
    estimator = "exact" if recipe == "made" else "elbo:4"
    with untouched(run):
        expect_refused("evaluate", [run, "--quiet", "--estimators", estimator, *options.split()], *words)


def test_a_gap_needs_something_to_fall_short_of(run, expect_refused, untouched) -> None:
    run = run("vae")
    with untouched(run):
        expect_refused("evaluate", [run, "--quiet", "--collapse", "--gap"], "--gap", "log p(x)", "--estimators elbo:64")
