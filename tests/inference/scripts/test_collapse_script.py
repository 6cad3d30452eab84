"""``inference.evaluate --collapse``: every program with latents, the file that analysis reads, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import xarray as xr

from analysis.collapse import read_collapse

LATENT = [
    "vae", "iwae", "vae_iaf", "vae_vamp", "vae_flow_prior", "skip_vae", "conv_vae", "recurrent_vae", "discrete_vae",
    "pixel_vae", "lossy_vae", "ladder_vae", "linear_vae", "autoencoder_gmm",
]  # fmt: skip


def test_every_other_run_is_refused_before_anything_is_written(recipes, copied, expect_refused, untouched) -> None:
    others = set(recipes) - set(LATENT)
    assert {"made", "pixel_rnn", "independent_pixels", "autoencoder"} <= others
    for name in sorted(others):
        run = copied(name)
        with untouched(run):
            expect_refused("evaluate", [run, "--collapse"], "--collapse", "leave --collapse out")


@pytest.mark.parametrize("name", LATENT)
def test_a_run_with_latents_is_measured_and_analysis_reads_it(name: str, copied, call) -> None:
    run = copied(name)
    printed = call("evaluate", run, "--collapse", "--quiet", "--device", "cpu")
    found = read_collapse(run / "collapse.nc")
    assert found["active_units"].value <= found["num_latents"].value == len(found.latents)
    for measure in found.measures.values():
        value = "-" if math.isnan(measure.value) else f"{measure.value:.3f}"
        line = next(line for line in printed.splitlines() if line.startswith(f"{measure.name} "))
        assert line.split()[1:3] == [measure.claim.value, value]
    assert (found.split, found.num_images, list(found.images)) == ("test", 12, list(range(12)))
    assert not (run / "evidence.nc").exists()


def test_evidence_and_collapse_of_a_split(copied, call) -> None:
    run = copied("vae")
    printed = call("evaluate", run, "--estimators", "elbo:8", "--collapse", "--split", "valid", "--limit", 5, "--quiet")
    assert "elbo:8 " in printed
    assert f"{run}: what the latents of VAE carry, valid split" in printed
    with xr.open_dataset(run / "collapse-valid.nc", engine="h5netcdf") as found:
        assert found.sizes["image"] == found.attrs["num_images"] == 5
        assert found.attrs["split"] == "valid"
    assert (run / "evidence-valid.nc").exists()
    assert not (run / "collapse.nc").exists()


def test_measuring_again_gives_the_same_file_content(copied, call) -> None:
    run = copied("vae")
    first, second = (
        (call("evaluate", run, "--collapse", "--quiet"), xr.load_dataset(run / "collapse.nc", engine="h5netcdf"))
        for _ in range(2)
    )
    assert first[0] == second[0]
    xr.testing.assert_identical(first[1], second[1])


def test_a_latent_refusal_comes_before_anything_is_scored(copied, expect_refused, untouched) -> None:
    run: Path = copied("made")
    with untouched(run):
        expect_refused("evaluate", [run, "--estimators", "exact", "--collapse"], "MADE", "no latents")


@pytest.mark.parametrize("arguments", [["--collapse", "--estimators"], ["--collapse", "--estimators", "elbo"]])
def test_estimators_that_are_named_beside_it_are_checked(copied, expect_refused, untouched, arguments) -> None:
    run = copied("vae")
    with untouched(run):
        expect_refused("evaluate", [run, *arguments], "--estimators")
