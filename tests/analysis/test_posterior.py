"""NUTS against the guide: planted differences are named, and nothing is said where the chains do not allow it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from analysis.arviz_compat import chain_diagnostics
from analysis.errors import InvalidInput
from analysis.posterior import Posterior, compare, judge_images, read_posterior
from tests.analysis.guide_files import planted, write_posterior

LATENTS = ["z[0]", "z[1]", "z[2]", "w[0]"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_posterior(tmp_path_factory.mktemp("run"), **planted(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def table(path) -> xr.Dataset:
    return compare(read_posterior(path))


def test_sites_lie_beside_each_other_by_name(path) -> None:
    found = read_posterior(path)
    assert found.draws.dims == found.guide.dims == ("chain", "draw", "image", "latent")
    assert found.draws["latent"].values.tolist() == LATENTS
    assert found.draws["image"].values.tolist() == [7, 9]
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert np.array_equal(found.draws.sel(latent="z[2]"), tree["posterior/z"].values[..., 2])
        assert np.array_equal(found.guide.sel(latent="w[0]"), tree["guide/w"].values[..., 0])


def test_moments_and_distances_of_planted_differences(table) -> None:
    """W1 between N(0, 1) and N(m, s^2) with a common centre is |s - 1| sqrt(2 / pi), with a common scale |m|."""
    row = table.sel(image=7)
    assert row["sd"].values == pytest.approx([1, 1, 1, 2], rel=0.06)
    assert row["guide_sd"].values == pytest.approx([0.5, 1.5, 1, 2], rel=0.06)
    assert row["shift"].values == pytest.approx([0, 0, 1, 0], abs=0.12)
    assert row["sd_ratio"].values == pytest.approx([0.5, 1.5, 1, 1], rel=0.08)
    half = 0.5 * np.sqrt(2 / np.pi)
    assert row["wasserstein"].values == pytest.approx([half, half, 1, 0], abs=0.15)
    assert (row["wasserstein_noise"].values < [0.12, 0.12, 0.12, 0.24]).all()
    assert (row["wasserstein_noise"].values > 0).all()
    assert (table.sel(image=9)["wasserstein"].values < [0.12, 0.12, 0.12, 0.24]).all()


@pytest.fixture(scope="module")
def repeated() -> xr.Dataset:
    """A hundred images with the same planted differences: s.d. ratio 1/2 and 3/2, and a shift of 1."""
    rng = np.random.default_rng(1)
    nuts, guide = rng.normal(size=(2, 100, 100, 3)), rng.normal(size=(1, 300, 100, 3))
    return compare(as_posterior(nuts, guide * [0.5, 1.5, 1.0] + [0.0, 0.0, 1.0]))


@pytest.mark.parametrize(("name", "truth"), [("shift", [0, 0, 1]), ("sd_ratio", [0.5, 1.5, 1])])
def test_standard_errors_are_those_of_repetitions(repeated, name: str, truth: list[float]) -> None:
    """The spread over images is what the table states for one (a hundred of them give it to 7%), and standardized
    errors leave +-1.96 as often as they should: 15 of 300 on average, 4 to 30 with probability .999."""
    found, stated = repeated[name], repeated[f"{name}_error"]
    assert (stated.mean("image") / found.std("image", ddof=1)).values == pytest.approx(np.ones(3), rel=0.25)
    assert 4 <= int((abs(found - xr.DataArray(truth, dims="latent")) > 1.96 * stated).sum()) <= 30


def as_posterior(nuts: np.ndarray, guide: np.ndarray, diverging: np.ndarray | None = None) -> Posterior:
    dims, images = ("chain", "draw", "image", "latent"), np.arange(nuts.shape[2]) * 2 + 7
    coords = {"image": images, "latent": LATENTS[:3]}
    flags = np.zeros(nuts.shape[:3]) if diverging is None else diverging
    sides = [xr.DataArray(side, coords, dims) for side in (nuts, guide)]
    return Posterior(*sides, xr.DataArray(flags, {"image": images}, dims[:3]), {})


def test_what_was_planted_is_named_and_nothing_else(table) -> None:
    first, second = judge_images(table)
    assert (first.image, second.image) == (7, 9)
    assert first.trusted == tuple(LATENTS)
    assert (first.narrower, first.wider, first.shifted) == (("z[0]",), ("z[1]",), ("z[2]",))
    assert first.sentence.startswith("Image 7: the guide is narrower on 1, wider on 1, off in the mean on 1 of 4 ")
    assert (second.narrower, second.wider, second.shifted) == ((), (), ())
    assert second.sentence.startswith("Image 9: no difference of guide and NUTS is found of 4 latents")


def test_the_level_is_shared_by_all_images_and_latents() -> None:
    """A shift of z standard errors is named where 2 (1 - Phi(z)) is below 5% over the number of tests: two per image
    and latent."""
    cells = {"image": [0, 1], "latent": ["z[0]"]}
    for latents in (1, 40):
        cells["latent"] = [f"z[{i}]" for i in range(latents)]
        critical = norm.isf(0.05 / (2 * latents * 2) / 2)
        for z, named in ((critical - 0.01, False), (critical + 0.01, True)):
            ones = xr.DataArray(np.ones((2, latents)), cells, ("image", "latent"))
            columns = dict.fromkeys(("sd_ratio", "sd_ratio_error", "shift_error", "r_hat", "converged"), ones)
            columns |= {"ess_bulk": 500 * ones, "ess_tail": 500 * ones, "shift": -z * ones}
            columns["divergences"] = xr.DataArray([0, 0], {"image": [0, 1]}, ("image",))
            for verdict in judge_images(xr.Dataset(columns)):
                assert bool(verdict.shifted) == named
            # the logarithm of the ratio has the error of the ratio over the ratio
            columns |= {"shift": 0 * ones, "sd_ratio": np.exp(z * 0.1) * ones}
            columns["sd_ratio_error"] = 0.1 * columns["sd_ratio"]
            for verdict in judge_images(xr.Dataset(columns)):
                assert (bool(verdict.wider), verdict.narrower) == (named, ())


def test_divergences_silence_the_verdict_of_their_image_alone() -> None:
    values = planted(np.random.default_rng(2))
    values["diverging"][2, 10, 0] = 1
    table = compare(as_posterior(values["nuts"]["z"], values["guide"]["z"], values["diverging"]))
    assert table["divergences"].values.tolist() == [1, 0]
    first, second = judge_images(table)
    assert first.sentence.startswith("Image 7: 1 divergent transition: NUTS misses part of the posterior")
    assert (first.trusted, first.narrower, first.divergences) == ((), (), 1)
    assert second.trusted == tuple(LATENTS[:3])


def test_chains_that_disagree_are_not_held_against_the_guide() -> None:
    """One chain sits elsewhere on z[0]: R-hat says so, and only the others are judged."""
    values = planted(np.random.default_rng(3))
    values["nuts"]["z"][0, :, 0, 0] += 6
    first, second = judge_images(compare(as_posterior(values["nuts"]["z"], values["guide"]["z"])))
    assert first.trusted == ("z[1]", "z[2]")
    assert first.worst_r_hat > 1.2
    assert first.narrower == ()
    assert "the chains do not agree on 1 more" in first.sentence
    assert second.worst_r_hat < 1.01


def test_too_few_draws_are_no_verdict() -> None:
    values = planted(np.random.default_rng(5), draws=60)
    first, _ = judge_images(compare(as_posterior(values["nuts"]["z"], values["guide"]["z"])))
    assert first.trusted == ()
    assert first.least_ess < 400
    assert first.sentence.startswith("Image 7: the chains do not agree on any latent, and nothing is said")


@pytest.mark.parametrize(
    ("found", "sound"),
    [
        ({}, 1),
        ({"r_hat": 1.0101}, 0),
        ({"r_hat": np.nan}, 0),
        ({"ess_bulk": 399.0}, 0),
        ({"ess_tail": 399.0}, 0),
    ],
)
def test_each_of_the_three_diagnostics_can_withhold_trust(found: dict[str, float], sound: int, monkeypatch) -> None:
    """At 1.01 and 400, and each alone beyond."""
    values = {"r_hat": 1.01, "ess_bulk": 400.0, "ess_tail": 400.0, "mcse_mean": 0.1, "mcse_sd": 0.1} | found
    ones = xr.DataArray(np.ones((2, 3)), {"image": [7, 9], "latent": LATENTS[:3]}, ("image", "latent"))
    table = xr.Dataset({name: value * ones for name, value in values.items()})
    monkeypatch.setattr("analysis.posterior.chain_diagnostics", lambda draws: table.copy())
    drawn = planted(np.random.default_rng(0), draws=8)
    assert (compare(as_posterior(drawn["nuts"]["z"], drawn["guide"]["z"]))["converged"] == sound).all()


@pytest.mark.parametrize("places", [(0.0, 0.0), (-1.0, 1.0)])
def test_chains_that_never_moved_are_no_verdict_and_no_warning(places: tuple[float, float]) -> None:
    """A step size that was tuned badly: the variance within chains is 0, and R-hat infinite or undefined."""
    stuck = np.array(places)[:, None, None, None] * np.ones((2, 20, 2, 3))
    table = compare(as_posterior(stuck, np.random.default_rng(0).normal(size=(1, 40, 2, 3))))
    assert not (table["r_hat"] < np.inf).any()
    assert (table["converged"] == 0).all()
    first, _ = judge_images(table)
    assert first.trusted == ()
    assert "nothing is said of the guide" in first.sentence


def test_a_path_may_be_text(path) -> None:
    assert read_posterior(str(path)).draws.identical(read_posterior(path).draws)


def test_effective_sample_size_of_an_autoregression() -> None:
    """x_t = rho x_(t-1) + e has N (1 - rho) / (1 + rho) effective draws of its mean (Geyer 1992), in both majors."""
    rng, rho = np.random.default_rng(6), 0.6
    noise = rng.normal(size=(4, 4000, 1))
    values = np.zeros_like(noise)
    for t in range(1, noise.shape[1]):
        values[:, t] = rho * values[:, t - 1] + noise[:, t]
    found = chain_diagnostics(xr.DataArray(values, dims=("chain", "draw", "latent")))
    expected = 16000 * (1 - rho) / (1 + rho)
    assert float(found["ess_bulk"][0]) == pytest.approx(expected, rel=0.15)
    deviation = 1 / np.sqrt(1 - rho**2)
    assert float(found["mcse_mean"][0]) == pytest.approx(deviation / expected**0.5, rel=0.15)
    assert float(found["r_hat"][0]) == pytest.approx(1, abs=0.01)
    assert set(found["r_hat"].dims) == {"latent"}


def test_r_hat_is_that_of_ranks(path) -> None:
    """Rank-normalized split R-hat of Vehtari et al. 2021, written out: it does not move under a monotone map."""
    draws = read_posterior(path).draws.isel(image=0, latent=[0])
    draws = draws + xr.DataArray([0.0, 0.1, 0.2, 0.3], dims="chain")
    values = draws.values[..., 0]
    halves = np.concatenate([values[:, :250], values[:, 250:]])

    def split_r_hat(array: np.ndarray) -> float:
        ranks = array.ravel().argsort().argsort().reshape(array.shape) + 1
        scores = norm.ppf((ranks - 3 / 8) / (array.size + 1 / 4))
        n = scores.shape[1]
        within, between = scores.var(1, ddof=1).mean(), n * scores.mean(1).var(ddof=1)
        return float(np.sqrt(((n - 1) / n * within + between / n) / within))

    expected = max(split_r_hat(halves), split_r_hat(abs(halves - np.median(halves))))
    for moved in (draws, np.exp(draws)):
        assert float(chain_diagnostics(moved)["r_hat"][0]) == pytest.approx(expected, abs=2e-3)


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(InvalidInput, match=r"no such file; make it with: python -m inference\.posterior"):
        read_posterior(tmp_path / "posterior.nc")
    values = planted(np.random.default_rng(0), chains=2, draws=4)
    path = write_posterior(tmp_path, **values)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        groups = {name: node.to_dataset().load() for name, node in tree.children.items()}
    renamed = groups["sample_stats"].rename(diverging="steps")
    for changed, words in (
        ({name: g for name, g in groups.items() if name != "guide"}, "guide: this group is missing"),
        (groups | {"guide": groups["guide"].isel(image=[0])}, "image: guide and posterior hold other ones"),
        (groups | {"guide": groups["guide"].drop_vars("w")}, "latent: guide and posterior hold other ones"),
        (groups | {"sample_stats": renamed}, "nobody knows whether NUTS diverged"),
        (groups | {"posterior": groups["posterior"].transpose("draw", ...)}, "z: has dimensions"),
    ):
        xr.DataTree.from_dict(changed).to_netcdf(path, engine="h5netcdf")
        with pytest.raises(InvalidInput, match=words):
            read_posterior(path)
