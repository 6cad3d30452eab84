"""``latents.nc`` and ``reconstructions.nc``: ArviZ opens the one, and its numbers are those of the densities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.special import expit, logsumexp
from scipy.stats import norm

from inference import load_data, load_run

STATISTICS = ("log_p", "log_q", "log_weight", "log_likelihood_given_z")
DIMS = {
    "posterior": {"z": ("chain", "draw", "image", "latent")},
    "posterior_predictive": {"x": ("chain", "draw", "image", "pixel")},
    "sample_stats": dict.fromkeys(
        ("log_p", "log_q", "log_weight", "log_likelihood_given_z"), ("chain", "draw", "image")
    ),
    "prior": {"z": ("chain", "draw", "latent")},
    "prior_predictive": {"x": ("chain", "draw", "pixel")},
    "observed_data": {"x": ("image", "pixel")},
}


@pytest.fixture(scope="module")
def run(runs, call, tmp_path_factory):
    """A VAE that was evaluated."""
    import shutil

    folder = tmp_path_factory.mktemp("latents") / "vae"
    shutil.copytree(runs / "vae", folder)
    call("evaluate", folder, "--estimators", "iw:5000", "--quiet")
    return folder


@pytest.fixture(scope="module")
def tree(run):
    return xr.open_datatree(run / "latents.nc", engine="h5netcdf").load()


def test_groups_and_dimensions(tree) -> None:
    assert set(tree.children) == set(DIMS)
    for group, variables in DIMS.items():
        assert {name: variable.dims for name, variable in tree[group].data_vars.items()} == variables
    assert dict(tree["posterior"].sizes) == {"chain": 1, "draw": 200, "image": 12, "latent": 2}
    assert tree["posterior"]["image"].values.tolist() == list(range(12))


def test_arviz_opens_it(run) -> None:
    arviz = pytest.importorskip("arviz")
    data = arviz.from_netcdf(str(run / "latents.nc"))
    for group in DIMS:
        assert hasattr(data, group) or group in data.children
    assert arviz.extract(data.posterior if hasattr(data, "posterior") else data["posterior"]).z.shape[-1] == 200


def test_densities_are_those_of_the_formulas(run, tree) -> None:
    """log p(x, z), log q(z | x) and log p(x | z) again, by scipy, from the draws and the nets' outputs."""
    loaded = load_run(run)
    z, x = tree["posterior"].z.values[0], tree["observed_data"].x.values.astype(float)
    with torch.no_grad():
        logits = loaded.program.decoder(torch.tensor(z)).double().numpy()
        posterior = loaded.guide.posterior(torch.tensor(x, dtype=torch.float32)).base_dist
    log_prior = norm.logpdf(z.astype(float)).sum(-1)
    log_q = norm.logpdf(z.astype(float), posterior.loc.double().numpy(), posterior.scale.double().numpy()).sum(-1)
    probability = expit(logits)
    log_likelihood = np.log(np.where(x == 1, probability, 1 - probability)).sum(-1)
    stats = tree["sample_stats"]
    assert np.allclose(stats.log_likelihood_given_z.values[0], log_likelihood, atol=1e-4)
    assert np.allclose(stats.log_p.values[0], log_prior + log_likelihood, atol=1e-4)
    assert np.allclose(stats.log_q.values[0], log_q, atol=1e-4)
    assert np.allclose(stats.log_weight, stats.log_p - stats.log_q, atol=1e-5)


def test_weights_agree_with_the_importance_weighted_bound(run, tree) -> None:
    """Other draws, so agreement is within the errors of both."""
    log_w = tree["sample_stats"].log_weight.values[0].astype(float)
    value = logsumexp(log_w, 0) - np.log(len(log_w))
    ess = np.exp(2 * logsumexp(log_w, 0) - logsumexp(2 * log_w, 0))
    found = xr.load_dataset(run / "evidence.nc", engine="h5netcdf").sel(estimator="iw:5000")
    error = np.sqrt(1 / ess - 1 / len(log_w) + found.stderr.values**2)
    assert (np.abs(value - found.log_evidence.values) < 4.5 * error).all()


def test_draws_of_the_prior_are_standard_normal(tree) -> None:
    z = tree["prior"].z.values.ravel()
    assert abs(z.mean()) < 4.5 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4.5 / np.sqrt(2 * z.size)


def test_images_are_images(tree, tiny) -> None:
    assert np.array_equal(tree["observed_data"].x.values, load_data(str(tiny)).split("test").numpy())
    for group in ("prior_predictive", "posterior_predictive"):
        assert set(np.unique(tree[group].x.values)) <= {0, 1}


def test_reconstructions_are_means_of_the_posterior_predictive(run, tree) -> None:
    found = xr.load_dataset(run / "reconstructions.nc", engine="h5netcdf")
    assert found.x.dims == found.reconstruction.dims == ("image", "pixel")
    assert found.image.values.tolist() == list(range(12))
    assert {"height", "width", "channels", "levels", "program"} <= set(found.attrs)
    assert (found.attrs["height"], found.attrs["width"], found.attrs["channels"]) == (2, 3, 1)
    drawn = tree["posterior_predictive"].x.values[0].mean(0)
    assert np.abs(found.reconstruction.values - drawn).max() < 4.5 * 0.5 / np.sqrt(200)


def test_draws_do_not_depend_on_the_other_images(run, tree, call, tmp_path) -> None:
    import shutil

    folder = tmp_path / "vae"
    shutil.copytree(run, folder)
    call("evaluate", folder, "--estimators", "elbo:1", "--limit", 3, "--quiet")
    few = xr.open_datatree(folder / "latents.nc", engine="h5netcdf").load()
    assert np.array_equal(few["posterior"].z.values, tree["posterior"].z.values[:, :, :3])


def test_a_program_without_latents_has_none(copied, call) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--quiet")
    assert not (run / "latents.nc").exists()
    assert not (run / "reconstructions.nc").exists()


def test_every_image_has_noise_of_its_own(run, tree) -> None:
    """Shared noise would tie the errors of all images together."""
    x = torch.tensor(tree["observed_data"].x.values, dtype=torch.float32)
    with torch.no_grad():
        posterior = load_run(run).guide.posterior(x).base_dist
    noise = (tree["posterior"].z.values[0] - posterior.loc.numpy()) / posterior.scale.numpy()
    first, second = noise[:, 0].ravel(), noise[:, 1].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4.5 / np.sqrt(first.size)
