"""``inference.evaluate --sbc``: every program with latents, the file that analysis reads, and what is refused."""

from __future__ import annotations

import pytest
import xarray as xr

from analysis.calibration import read_calibration
from inference.calibration import ranks as ranks_module

LATENT = [
    "vae", "iwae", "vae_iaf", "vae_vamp", "vae_flow_prior", "skip_vae", "conv_vae", "recurrent_vae", "discrete_vae",
    "pixel_vae", "lossy_vae", "ladder_vae", "linear_vae", "autoencoder_gmm",
]  # fmt: skip
SMALL = ["--sbc", "--sbc.simulations", "20", "--sbc.draws", "19", "--quiet", "--device", "cpu"]


@pytest.fixture
def few(monkeypatch) -> None:
    """Mechanics can be seen from a few simulations."""
    monkeypatch.setattr(ranks_module, "LEAST_SIMULATIONS", 20)


@pytest.mark.parametrize("name", LATENT)
def test_a_run_with_latents_is_calibrated_and_analysis_reads_it(name: str, few, copied, call) -> None:
    run = copied(name)
    printed = call("evaluate", run, *SMALL)
    found = read_calibration(run / "calibration.nc")
    assert found.ranks.shape == (len(found.quantities), 20)
    assert found.quantities[-1] == "log p(x, z)"
    assert (found.attrs["split"], found.attrs["draws"]) == ("simulated", 19)
    assert "20 simulated images, 19 guide draws each" in printed
    lower, upper = found.log_evidence["elbo:19"][1], found.log_evidence.get("eubo")
    assert f"elbo:19 (LOWER_BOUND): {lower.mean():.3f}" in printed
    assert ("exact" in found.log_evidence) == (name in ("linear_vae",))
    if upper is not None:
        assert f"eubo (UPPER_BOUND): {upper[1].mean():.3f}" in printed
    assert not (run / "evidence.nc").exists()


def test_evidence_and_calibration_together(few, copied, call) -> None:
    run = copied("vae")
    printed = call("evaluate", run, "--estimators", "elbo:8", *SMALL)
    assert "elbo:8 " in printed
    assert (run / "evidence.nc").exists()
    assert (run / "calibration.nc").exists()


def test_calibrating_again_gives_the_same_file_content(few, copied, call) -> None:
    run = copied("vae")
    first, second = (
        (call("evaluate", run, *SMALL), xr.load_dataset(run / "calibration.nc", engine="h5netcdf")) for _ in range(2)
    )
    assert first[0] == second[0]
    xr.testing.assert_identical(first[1], second[1])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vae", ["--sbc", "--sbc.simulations", "999"], ["--sbc.simulations 999", "give at least 1000"]),
        ("vae", ["--sbc", "--sbc.draws", "5"], ["--sbc.draws 5", "give at least 19"]),
        ("vae", ["--sbc", "--sbc.draws", "many"], ["--sbc.draws 'many'", "whole number"]),
        ("vae", ["--sbc", "--sbc.drawz", "99"], ["--sbc.drawz '99'", "did you mean draws"]),
        ("vae", ["--estimators", "elbo:8", "--sbc.draws", "99"], ["--sbc.draws '99'", "add --sbc"]),
        ("made", ["--sbc"], ["--sbc 'MADE'", "has no latents", "leave it out"]),
        ("autoencoder", ["--sbc"], ["--sbc", "no latents"]),
        ("made", ["--estimators", "exact", "--sbc"], ["--sbc 'MADE'", "has no latents"]),
    ],
)
def test_refusals_come_before_anything_is_scored(name, options, words, copied, expect_refused, untouched) -> None:
    run = copied(name)
    with untouched(run):
        expect_refused("evaluate", [run, *options, "--quiet"], *words)
