"""The table of claims, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.claims import Claim
from analysis.runs import read_study
from analysis.table import merge_refusals, table_of_claims


def test_means_and_errors_by_hand(folders) -> None:
    for seed, values in enumerate(([-10.0, -20.0, -30.0], [-12.0, -22.0, -32.0])):
        folders.config(f"seed-{seed}", "VAE", seed=seed)
        rows = {"iw:50": ("LOWER_BOUND", values), "exact": ("none", "latents")}
        folders.evidence(f"seed-{seed}", rows, stderr=0.6, seed=seed)
    row, refusal = table_of_claims(read_study(folders.root))
    # seed averages -11, -21, -31: mean -21, s = 10, s.e. 10 / sqrt(3); seed means -20, -22: s.d. sqrt(2)
    assert row.mean == pytest.approx(-21)
    assert row.stderr == pytest.approx(10 / math.sqrt(3))
    assert row.seed_means == pytest.approx((-20, -22))
    assert row.seed_spread == pytest.approx(math.sqrt(2))
    assert row.stderr_monte_carlo == pytest.approx(0.6 / math.sqrt(6))
    assert row.bits_per_dim == pytest.approx(21 / (64 * math.log(2)))
    assert (row.claim, row.num_particles, row.seeds, row.num_images) == (Claim.LOWER_BOUND, 50, (0, 1), 3)
    assert math.isnan(refusal.mean)
    assert (refusal.claim, refusal.reason, refusal.seed_means) == (Claim.NONE, "latents", ())


def test_refusals_for_one_reason_share_a_row(folders) -> None:
    folders.config("run", "Autoencoder")
    rows = {"exact": ("none", "exact: no density"), "elbo:8": ("none", "elbo:8: no density"), "iw:5": ("none", "slow")}
    folders.evidence("run", rows)
    merged = merge_refusals(table_of_claims(read_study(folders.root / "run")))
    assert sorted((row.estimator, row.reason) for row in merged) == [
        ("elbo:8, exact", "no density"),
        ("iw:5", "slow"),
    ]


def test_a_density_has_no_bits(folders) -> None:
    folders.config("run")
    folders.evidence("run", {"exact": ("EXACT", [-1.0, -2.0])}, measure="density")
    assert math.isnan(table_of_claims(read_study(folders.root / "run"))[0].bits_per_dim)


def test_share_of_high_pareto_k(folders) -> None:
    folders.config("run", "VAE")
    file = folders.evidence("run", {"iw:50": ("LOWER_BOUND", -np.ones(4))})
    import xarray as xr

    with xr.open_dataset(file, engine="h5netcdf") as opened:
        dataset = opened.load()
    dataset["pareto_k"][0] = [0.1, 0.7, 0.71, 2.0]
    dataset.to_netcdf(file, engine="h5netcdf")
    assert table_of_claims(read_study(folders.root / "run"))[0].share_high_k == 0.5


def test_seeds_over_other_data_are_not_averaged(folders) -> None:
    for seed, digest in enumerate(("sha256:a", "sha256:b")):
        folders.config(f"seed-{seed}", seed=seed)
        folders.evidence(f"seed-{seed}", {"exact": ("EXACT", [-1.0, -2.0])}, data_digest=digest)
    assert [row.seeds for row in table_of_claims(read_study(folders.root))] == [(0,), (1,)]
