"""Simulated images and the two bounds on them: what lies in the file, and what it depends on."""

from __future__ import annotations

import math

import pytest
import torch
import xarray as xr

from inference.estimators import AnnealedImportance, ReverseAnnealedImportance
from inference.sandwich import sandwich, write_sandwich
from inference.simulate import simulate
from ppl_models import InvalidInput, NotADensityError
from ppl_models.autoencoder import Autoencoder, NotADensity
from ppl_models.programs import MADE, VAE, LinearVAE

ATTRS = {
    "data_digest": "d", "split": "test", "program": "LinearVAE", "guide": "", "seed": 0, "epoch": 1,
    "measure": "density", "levels": 0,
}  # fmt: skip


def test_an_image_is_simulated_from_its_index_alone(tiny_vae: VAE) -> None:
    few, many = simulate(tiny_vae, 3, 5), simulate(tiny_vae, 7, 5)
    assert torch.equal(few.x, many.x[:3])
    assert torch.equal(few.latents["z"], many.latents["z"][:3])
    assert not torch.equal(simulate(tiny_vae, 7, 6).latents["z"], many.latents["z"])
    assert (len(few), few.x.shape, few.latents["z"].shape) == (3, (3, 4), (3, 1))


def test_pairs_are_draws_of_the_joint_distribution(linear: LinearVAE) -> None:
    """Cov(x, z) = W and Var(z) = 1 over 1,000 draws, each entry within 5 standard errors of at most
    sqrt(Var(x) + W^2) / sqrt(1,000)."""
    drawn = simulate(linear, 1000, 0)
    weight = linear.decoder.weight.detach()
    centred = drawn.x - linear.decoder.bias.detach()
    covariance = centred.T @ drawn.latents["z"] / 1000
    spread = (centred.var(0).unsqueeze(-1) + weight**2).sqrt() / 1000**0.5
    assert ((covariance - weight).abs() < 5 * spread).all()
    assert (drawn.latents["z"].var(0) - 1).abs().max() < 5 * (2 / 1000) ** 0.5


def test_what_has_no_density_or_no_images_is_not_simulated(tiny_vae: VAE) -> None:
    with pytest.raises(NotADensityError):
        simulate(NotADensity(Autoencoder(4, 2, (8,))), 2, 0)
    with pytest.raises(InvalidInput, match="at least 1"):
        simulate(tiny_vae, 0, 0)


def test_a_sandwich_is_both_estimators_on_the_same_images(linear: LinearVAE) -> None:
    found = sandwich(linear, None, 6, 8, 3, seed=2, num_leapfrog=2)
    drawn = simulate(linear, 6, 2)
    assert torch.equal(found.simulated.x, drawn.x)
    lower = AnnealedImportance(8, 3, num_leapfrog=2, seed=2)(linear, drawn.x)
    upper = ReverseAnnealedImportance(8, 3, num_leapfrog=2, seed=2)(linear, drawn)
    assert torch.equal(found.lower.values, lower.values)
    assert torch.equal(found.upper.values, upper.values)
    difference = (upper.values - lower.values).double()
    assert found.width == pytest.approx((difference.mean().item(), difference.std().item() / 6**0.5))
    assert f"width {found.width[0]:.3f}" in str(found)
    assert math.isnan(sandwich(linear, None, 1, 2, 2, num_leapfrog=1).width[1])


def test_a_sandwich_lies_in_its_file_with_its_claims(linear: LinearVAE, tmp_path) -> None:
    found = sandwich(linear, None, 4, 5, 2, num_leapfrog=1)
    write_sandwich(tmp_path, found, ATTRS)
    with xr.open_dataset(tmp_path / "sandwich.nc", engine="h5netcdf") as file:
        claims = dict(zip(file.estimator.values.tolist(), file.claim.values.tolist(), strict=True))
        assert claims == {"ais:5": "LOWER_BOUND", "bdmc:5": "UPPER_BOUND", "exact": "EXACT"}
        assert file.attrs["split"] == "simulated"
        assert "2 chains from the prior, sigmoid schedule" in file.attrs["settings of bdmc:5"]
        stored = torch.tensor(file.log_evidence.sel(estimator="bdmc:5").values)
    torch.testing.assert_close(stored, found.upper.values.double())
    with pytest.raises(InvalidInput):
        write_sandwich(tmp_path, found, {**ATTRS, "epoch": 2})


def test_a_program_without_latents_has_no_sandwich() -> None:
    with pytest.raises(InvalidInput, match=r"no latents.*use exact"):
        sandwich(MADE(4, (5,)), None, 2, 2, 2)
