"""``inference.posterior``: what it writes, that ArviZ and analysis read it, what it prints, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import xarray as xr
from pyro.ops.stats import effective_sample_size

from analysis.arviz_compat import load_arviz
from analysis.posterior import compare, read_posterior
from inference import posterior

SHORT = ["--chains", "2", "--warmup", "15", "--draws", "8", "--jobs", "1", "--quiet"]


@pytest.fixture(scope="module")
def written(runs, call, tmp_path_factory):
    """A run with NUTS on two of its images, and what was printed."""
    run = shutil.copytree(runs / "vae", tmp_path_factory.mktemp("posterior") / "vae")
    return run, call("posterior", run, "--images", 3, 1, *SHORT)


def test_the_groups_of_the_file(written, arrays) -> None:
    run, _ = written
    with xr.open_datatree(run / "posterior.nc", engine="h5netcdf") as tree:
        assert set(tree.children) == {"posterior", "sample_stats", "guide", "observed_data"}
        assert tree["posterior"].z.dims == ("chain", "draw", "image", "latent")
        assert tree["posterior"].z.shape == (2, 8, 2, 2)
        assert tree["guide"].z.shape == (1, 16, 2, 2)
        assert tree["posterior"].image.values.tolist() == [3, 1]
        assert np.array_equal(tree["observed_data"].x, arrays["test"][[3, 1]])
        stats = tree["sample_stats"]
        assert set(stats.data_vars) == {"diverging", "acceptance_rate", "step_size", "lp"}
        assert (stats.lp.values < 0).all()
        for group in ("posterior", "sample_stats", "guide"):
            attrs = tree[group].attrs
            assert (attrs["program"], attrs["guide"], attrs["split"]) == ("VAE", "DiagonalNormal", "test")
            assert (attrs["inference_library"], attrs["warmup"], attrs["sampling_seed"]) == ("pyro", 15, 0)


def test_arviz_opens_it(written) -> None:
    arviz = load_arviz()
    data = arviz.from_netcdf(written[0] / "posterior.nc", engine="h5netcdf")
    summary = arviz.summary(data, var_names=["z"])
    assert len(summary) == 4  # two images of two latents
    assert {"mean", "sd", "r_hat", "ess_bulk", "ess_tail"} <= set(summary.columns)


def test_the_table_is_that_of_analysis(written) -> None:
    """Mean, deviation and distance are computed on both sides of the wall, by different code."""
    run, printed = written
    found = compare(read_posterior(run / "posterior.nc"))
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line[:6].strip().isdigit()}
    assert set(lines) == {"3", "1"}
    for image, cells in lines.items():
        row = found.sel(image=int(image))
        assert int(cells[3]) == int(row.divergences)
        assert float(cells[4]) == pytest.approx(float(abs(row["shift"]).max()), rel=0.05, abs=0.01)
        assert float(cells[5]) == pytest.approx(float(row.sd_ratio.min()), rel=0.05)
        assert float(cells[7]) == pytest.approx(float(row.sd_ratio.max()), rel=0.05)
        assert float(cells[8]) == pytest.approx(float((row.wasserstein / row.sd).mean()), rel=0.05)
    assert f"{run}/posterior.nc: 2 chains of 8 draws per image" in printed
    assert "R-hat below 1.01" in printed


def test_the_guides_draws_do_not_depend_on_the_other_images(written, copied, call) -> None:
    run = copied("vae")
    call("posterior", run, "--images", 1, *SHORT)
    alone, both = (read_posterior(folder / "posterior.nc") for folder in (run, written[0]))
    assert np.array_equal(alone.guide.sel(image=1), both.guide.sel(image=1))
    assert np.array_equal(alone.draws.sel(image=1), both.draws.sel(image=1))
    call("posterior", run, "--images", 1, *SHORT, "--seed", 1)
    assert not np.array_equal(read_posterior(run / "posterior.nc").draws, alone.draws)


def test_a_chain_that_never_moved_is_shown_as_one(written) -> None:
    with xr.open_datatree(written[0] / "posterior.nc", engine="h5netcdf") as tree:
        stuck = tree.load().copy(deep=True)
    stuck["posterior"]["z"][...] = 1.0
    line = posterior.table(stuck).splitlines()[-1].split()
    assert (line[1], line[4], line[-1]) == ("nan", "inf", "inf")


def test_an_effective_sample_size_is_never_negative(written) -> None:
    """Of draws that alternate, the autocorrelations sum to less than -1/2, and the estimate changes its sign."""
    with xr.open_datatree(written[0] / "posterior.nc", engine="h5netcdf") as tree:
        alternating = tree.load().copy(deep=True)
    z = alternating["posterior"]["z"]
    z[...] = (-1.0) ** np.arange(z.sizes["draw"])[None, :, None, None]
    assert effective_sample_size(torch.as_tensor(z.values[:, :, 0]), 0, 1).min() < 0
    assert posterior.table(alternating).splitlines()[-1].split()[2] == "-"


@pytest.mark.parametrize("name", ["vae_vamp", "pixel_vae", "ladder_vae", "linear_vae", "autoencoder_gmm"])
def test_other_programs_with_continuous_latents(name: str, copied, call) -> None:
    run = copied(name)
    call("posterior", run, "--images", 0, "--split", "valid", "--chains", 1, "--warmup", 3, "--draws", 4, "--quiet")
    found = read_posterior(run / "posterior.nc")
    sites = json.loads((run / "config.json").read_text())["latents"]
    assert {str(latent).partition("[")[0] for latent in found.draws["latent"].values} == set(sites)
    assert found.attrs["split"] == "valid"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vae", [], ["--images", "required"]),
        ("vae", ["--images", "12"], ["--images 12", "test has 12 images", "give 0 to 11"]),
        ("vae", ["--images", "-1"], ["--images -1", "give 0 to 11"]),
        ("vae", ["--images", "2", "2"], ["--images 2", "twice"]),
        ("vae", ["--images", "one"], ["--images 'one'", "whole number"]),
        ("vae", ["--images", "0", "--draws", "3"], ["--draws 3", "give at least 4"]),
        ("vae", ["--images", "0", "--chains", "0"], ["--chains 0", "at least 1"]),
        ("vae", ["--images", "0", "--warmup", "0"], ["--warmup 0", "at least 1"]),
        ("vae", ["--images", "0", "--jobs", "0"], ["--jobs 0", "at least 1"]),
        ("vae", ["--images", "0", "--split", "tset"], ["tset"]),
        ("vae", ["--images", "0", "--data", "digits"], ["--data 'digits'", "digest"]),
        ("made", ["--images", "0"], ["MADE", "has no latents"]),
        ("discrete_vae", ["--images", "0"], ["latents z are discrete", "--estimators enumerate"]),
        ("autoencoder", ["--images", "0"], ["does not sum to one"]),
    ],
)
def test_what_is_refused_leaves_the_run_as_it_was(name, options, words, copied, expect_refused, untouched) -> None:
    run = copied(name)
    with untouched(run):
        expect_refused("posterior", [run, *options, "--quiet"], *words)
