"""What goes to ArviZ: restarts as chains, log p and log q, the compare plot. The same in both majors."""

from __future__ import annotations

import io

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot

from analysis import arviz_compat
from analysis.errors import Incomparable, InvalidInput
from analysis.runs import read_study
from tests.analysis.arviz_files import linear_latents

X = np.array([-1.5, 0.0, 0.5, 2.0])


def test_leaving_the_only_image_out_gives_its_log_evidence(folders) -> None:
    """A guide as wide as the prior reaches it: elpd is log N(x; 0, 2), and the weights have no heavy tail."""
    folders.config("vae", "VAE")
    exact = linear_latents(folders.root / "vae/latents.nc", X, wide=2.0)
    found = arviz_compat.loo_approximate_posterior(folders.root / "vae/latents.nc")
    assert found["elpd"].values == pytest.approx(exact, abs=0.06)
    assert (found["pareto_k"].values < 0.5).all()
    assert found.attrs["claim"] == "ESTIMATE"


def test_an_exact_guide_is_too_narrow_for_the_prior(folders) -> None:
    """q with half the prior's variance: p(z) / q(z) grows without bound and k-hat says so, the sign included."""
    folders.config("vae", "VAE")
    linear_latents(folders.root / "vae/latents.nc", X)
    file = folders.root / "vae/latents.nc"
    found = arviz_compat.loo_approximate_posterior(file)
    assert (found["pareto_k"].values[[0, 3]] > 0.3).all()
    weights = arviz_compat.open_tree(file)["sample_stats"]["log_weight"].stack(k=("chain", "draw"))
    smoothed, k_hat = arviz_compat.psis(weights.transpose("k", "image").values)
    assert smoothed == pytest.approx(np.full((4000, 4), -np.log(4000))), "those to the posterior are equal"
    assert np.isnan(k_hat).all()


def test_our_function_is_that_of_arviz(folders) -> None:
    arviz = arviz_compat.load_arviz()
    folders.config("vae", "VAE")
    file = folders.root / "vae/latents.nc"
    linear_latents(file, X, wide=2.0)
    ours = arviz_compat.loo_approximate_posterior(file)
    for image in range(X.size):
        data, log_p, log_q = arviz_compat.approximate_posterior(file, image)
        assert data["posterior"]["z"].dims == ("chain", "draw", "latent")
        assert data["log_likelihood"]["x"].sizes == {"chain": 2, "draw": 2000, "image": 1}
        assert log_p.shape == log_q.shape == (4000,)
        if not arviz_compat.is_legacy(arviz):
            with pytest.warns(UserWarning, match="point-wise LOO is the same"):  # of one image it is
                theirs = arviz.loo_approximate_posterior(data, log_p, log_q, pointwise=True)
            assert float(theirs.elpd) == pytest.approx(ours["elpd"].values[image], abs=1e-6)
            assert float(theirs.pareto_k.item()) == pytest.approx(ours["pareto_k"].values[image], abs=1e-6)


def test_files_without_log_densities(folders) -> None:
    folders.config("vae", "VAE")
    file = folders.latents("vae")
    with pytest.raises(InvalidInput, match="sample_stats/log_p: is missing"):
        arviz_compat.loo_approximate_posterior(file)
    linear_latents(file, X)
    with pytest.raises(InvalidInput, match=r"image 4: is not in latents\.nc; give 0 to 3"):
        arviz_compat.approximate_posterior(file, 4)


def three_seeds(folders, offsets=(0.0, 0.5, 1.0)) -> None:
    for seed, offset in enumerate(offsets):
        folders.config(f"vae/seed-{seed}", "VAE", seed=seed)
        values = {"elbo:64": ("LOWER_BOUND", X - 20 + offset), "iw:50": ("LOWER_BOUND", X - 18 + offset)}
        values |= {"exact": ("none", "no log_prob")}
        folders.evidence(f"vae/seed-{seed}", values, seed=seed)


def test_seeds_are_chains_of_what_is_comparable(folders) -> None:
    three_seeds(folders)
    found = arviz_compat.restarts(read_study(folders.root / "vae").members[0])
    assert set(found) == {"log_evidence[elbo:64]", "log_evidence[iw:50]"}
    assert found["chain"].values.tolist() == [0, 1, 2]
    values = found["log_evidence[iw:50]"]
    assert values.dims == ("chain", "draw", "image")
    assert values.values[:, 0, 0] == pytest.approx([-19.5, -19.0, -18.5])
    assert values.attrs == {"claim": "LOWER_BOUND", "units": "nats"}
    tree = arviz_compat.to_arviz({"posterior": found})
    assert tree["posterior"]["log_evidence[elbo:64]"].shape == (3, 1, 4)


def test_restarts_that_cannot_be_laid_together(folders) -> None:
    three_seeds(folders)
    folders.evidence("vae/seed-1", {"elbo:64": ("LOWER_BOUND", X - 20)}, seed=1, data_digest="sha256:bbbb")
    with pytest.raises(Incomparable):
        arviz_compat.restarts(read_study(folders.root / "vae").members[0])
    folders.config("none")
    with pytest.raises(InvalidInput, match="has no evidence"):
        arviz_compat.restarts(read_study(folders.root / "none").members[0])


def table(**columns) -> xr.Dataset:
    variables = {name: ("member", values) for name, values in columns.items()}
    return xr.Dataset(variables, {"member": ["first", "a_second_with_a_long_name"]}, {"images": 250})


def test_the_compare_plot_shows_the_differences_and_their_errors() -> None:
    figure = arviz_compat.plot_compare(
        table(rank=[0, 1], diff=[0.0, -65.0], dse=[0.0, 8.0], claim=["exact", "iw:50, lower bound"])
    )
    figure.savefig(io.BytesIO(), format="png")
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(labels) == ["a_second_with_a_long_name (iw:50, lower bound)", "first (exact)"]
    lows = [label.get_window_extent().x0 for label in axes.get_yticklabels()]
    assert min(lows) >= 0, "names are not cut"
    assert "250 images" in axes.get_xlabel()
    points = [p for line in axes.lines for p in np.atleast_1d(line.get_xdata())]
    points += [p for c in axes.collections if hasattr(c, "get_offsets") for p in np.asarray(c.get_offsets())[:, 0]]
    assert any(np.isclose(point, -65.0) for point in points)
    bars = [np.asarray(line.get_xdata(), float) for line in axes.lines]
    bars += [np.asarray(s)[:, 0] for c in axes.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert any(b.shape == (2,) and np.allclose(sorted(b), [-73.0, -57.0]) for b in bars)
    assert pyplot.get_fignums() == []
