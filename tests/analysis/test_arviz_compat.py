"""ArviZ 0.23 and 1.x give the same answers, with the sign that is ours."""

from __future__ import annotations

import types

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from analysis import arviz_compat
from analysis.errors import InvalidInput
from analysis.runs import read_study
from analysis.sections_latent import latent_codes


@pytest.mark.parametrize("k", [0.2, 0.5, 1.0])
def test_psis_finds_the_shape_of_a_pareto_tail(k: float) -> None:
    """w = u^-k has survival function w^(-1/k), a Pareto tail of shape k; with the sign flipped k-hat is below 0."""
    u = (np.arange(1, 20001) - 0.5) / 20000
    log_weights = np.stack([-k * np.log(u), -k * np.log(u) + 123.0], axis=1)
    rng = np.random.default_rng(0)
    smoothed, k_hat = arviz_compat.psis(rng.permuted(log_weights, axis=0))
    assert smoothed.shape == (20000, 2)
    assert k_hat.shape == (2,)
    assert k_hat == pytest.approx([k, k], abs=0.08)


def test_psis_leaves_the_body_of_the_weights_in_order() -> None:
    log_weights = np.random.default_rng(1).normal(size=(400, 1))
    before = log_weights.copy()
    smoothed, _ = arviz_compat.psis(log_weights)
    assert np.array_equal(log_weights, before)
    assert np.array_equal(np.argsort(smoothed[:, 0]), np.argsort(log_weights[:, 0]))
    assert np.logaddexp.reduce(smoothed[:, 0]) == pytest.approx(0, abs=1e-9)
    body = np.argsort(log_weights[:, 0])[:200]
    shift = smoothed[body, 0] - log_weights[body, 0]
    assert np.ptp(shift) < 1e-9


@pytest.mark.parametrize("weights", [np.zeros(5), np.zeros((1, 3)), np.full((9, 1), np.nan)])
def test_psis_refuses_what_it_cannot_read(weights: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="one row per particle"):
        arviz_compat.psis(weights)


def test_a_tree_and_its_guide_draws(folders) -> None:
    folders.config("vae", "VAE")
    file = folders.latents("vae", draws=50, images=2, latents=3)
    draws = arviz_compat.guide_draws(file)
    assert draws.dims == ("chain", "draw", "image", "latent")
    assert draws.mean(("chain", "draw", "image")).values == pytest.approx([0, 1, 2], abs=0.15)
    assert set(arviz_compat.open_tree(file)) == {"posterior", "sample_stats"}
    with pytest.raises(InvalidInput, match="known: z"):
        arviz_compat.guide_draws(file, "w")


def test_trees_that_cannot_be_opened(folders, tmp_path) -> None:
    with pytest.raises(InvalidInput, match=r"no such file; make it with: python -m inference\.evaluate"):
        arviz_compat.open_tree(tmp_path / "latents.nc")
    (tmp_path / "latents.nc").write_bytes(b"no tree")
    with pytest.raises(InvalidInput, match="not a readable netCDF tree"):
        arviz_compat.open_tree(tmp_path / "latents.nc")
    evidence = folders.evidence("run", {"exact": ("EXACT", [-1.0])})
    with pytest.raises(InvalidInput, match="posterior: this group is missing"):
        arviz_compat.open_tree(evidence)


def test_the_sites_of_a_ladder_have_a_dimension_each(folders, tmp_path) -> None:
    folders.config("ladder")
    file = folders.latents("ladder", draws=50, latents=3)
    tree = xr.load_dataset(file, group="posterior", engine="h5netcdf")
    sites = {"z1": tree["z"].rename(latent="latent_z1"), "z2": tree["z"][..., :2].rename(latent="latent_z2")}
    xr.DataTree.from_dict({"posterior": xr.Dataset(sites)}).to_netcdf(file, engine="h5netcdf")
    draws = arviz_compat.guide_draws(file, "z2")
    assert draws.dims == ("chain", "draw", "image", "latent")
    assert draws.values.tolist() == tree["z"].values[..., :2].tolist()
    run = types.SimpleNamespace(path=file.parent, seed=0)
    study = types.SimpleNamespace(members=[types.SimpleNamespace(name="ladder", runs=[run])])
    assert [entry.title for entry in latent_codes(study)] == ["ladder, seed 0"]


def test_forest_of_chosen_latents(folders) -> None:
    folders.config("vae", "VAE")
    file = folders.latents("vae")
    figure = arviz_compat.plot_forest(file, image=1, latents=[3, 1])
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []
    with pytest.raises(InvalidInput, match=r"image 3: is not in latents\.nc; give 0 to 2"):
        arviz_compat.plot_forest(file, image=3, latents=[0])


def test_ranking_has_our_sign_and_is_not_rounded(folders) -> None:
    values = np.array([-10.0, -20.0, -30.123456])
    folders.config("a")
    folders.evidence("a", {"exact": ("EXACT", values - [1.0, 2.0, 3.0])})
    folders.config("b")
    folders.evidence("b", {"exact": ("EXACT", values)})
    table = arviz_compat.ranking(read_study(folders.study({"a": ["a"], "b": ["b"]})))
    assert table["member"].values.tolist() == ["b", "a"]
    assert table["log_evidence"].values == pytest.approx([-60.123456, -66.123456], abs=1e-9)
    # paired differences -1, -2, -3: sum -6, s = 1, s.e. of the sum sqrt(3)
    assert table["diff"].values == pytest.approx([0, -6])
    assert table["dse"].values == pytest.approx([0, np.sqrt(3)])
    assert table["claim"].values.tolist() == ["exact", "exact"]
