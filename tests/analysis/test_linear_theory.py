"""The linear program read out: hand-made files that agree with theory, or do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.errors import InvalidInput
from analysis.linear_theory import linear_statements, read_linear
from analysis.plots_sweep import linear_figure

EIGENVALUES = np.array([4.0, 1.0])
SIGMAS = np.array([0.5, 1.5, 2.5])
PREDICTED = np.array([[15 / 16, 0.75], [7 / 16, 0.0], [0.0, 0.0]])  # 1 - sigma^2 / lambda, by hand


def content(**changes) -> xr.Dataset:
    """Three values of sigma, two restarts, two latents."""
    measured = np.stack([PREDICTED + 0.001, PREDICTED], 1)
    best = np.array([-3.0, -4.0, -5.0])
    columns = {
        "predicted": (("sigma", "latent"), PREDICTED),
        "measured": (("sigma", "restart", "latent"), measured),
        "best_elbo": ("sigma", best),
        "elbo": (("sigma", "restart"), np.stack([best, best - 1e-4], 1)),
        "predicted_curvature": ("sigma", np.array([3.0, 0.4, -0.1])),
        "curvature": ("sigma", np.array([3.0, 0.4, -0.1])),
        "eigenvalue": ("latent", EIGENVALUES),
        "learned_predicted": ("latent", np.array([0.9, 0.5])),
        "learned_measured": (("restart", "latent"), np.array([[0.9, 0.5], [0.9, 0.5]])),
        "learned_elbo": ("restart", np.array([-2.0, -2.0])),
        "learned_sigma": ("restart", np.array([0.4, 0.4])),
    }
    columns |= {name: (columns[name][0], np.asarray(values)) for name, values in changes.items() if name in columns}
    attrs = {"data": "digits", "images": 100, "pixels": 5, "threshold": 0.01, "learned_best_sigma": 0.4,
             "learned_best_elbo": -2.0}  # fmt: skip
    return xr.Dataset(columns, {"sigma": SIGMAS}, attrs)


@pytest.fixture
def write(tmp_path):
    def to_file(dataset: xr.Dataset) -> Path:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        dataset.to_netcdf(folder / "linear.nc", engine="h5netcdf")
        return folder / "linear.nc"

    return to_file


def test_agreement_is_of_every_latent_sigma_and_restart(write) -> None:
    theory = read_linear(write(content()))
    assert (theory.name, theory.data) == ("images", "digits")
    assert theory.error == pytest.approx(0.001)
    assert theory.agrees
    assert theory.predicted_alive.tolist() == [2, 1, 0]
    assert theory.measured_alive.tolist() == [[2, 2], [1, 1], [0, 0]]
    assert theory.elbo_spread == pytest.approx(1e-4)
    text = " ".join(linear_statements(theory))
    assert "agree within 0.02" in text
    assert "in 6 of 6 trainings; it falls from 2 to 0" in text
    assert "All restarts reach the best ELBO" in text
    assert "With sigma learned, 2 of 2" in text
    assert "stable from sigma = 2.500 on" in text
    assert "the square root of the largest eigenvalue, 2.000." in text


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("measured", (1, 1, 1), 0.03, ["do not agree", "0.03 apart", "in 5 of 6"]),
        ("elbo", (0, 1), -3.5, ["A restart ends 0.5 nats from the best"]),
        ("learned_elbo", (1,), -2.25, ["A restart ends 0.25 nats from the best"]),
        ("learned_measured", (1, 1), 0.0, ["1 of 2 latents are active"]),
        ("curvature", (1,), -0.1, ["from sigma = 1.500 on", "which it contradicts"]),
    ],
)
def test_one_training_that_departs_is_told(write, name, place, value, words) -> None:
    changed = content()[name].values.copy()
    changed[place] = value
    text = " ".join(linear_statements(read_linear(write(content(**{name: changed})))))
    for word in words:
        assert word in text


def test_a_point_that_is_stable_nowhere_is_told(write) -> None:
    text = " ".join(linear_statements(read_linear(write(content(curvature=np.ones(3))))))
    assert "stable nowhere on the grid" in text
    assert "which it contradicts" in text


def test_what_is_no_such_file_is_refused(write, tmp_path) -> None:
    with pytest.raises(InvalidInput, match="no such file"):
        read_linear(tmp_path / "linear.nc")
    with pytest.raises(InvalidInput, match="best_elbo"):
        read_linear(write(content().drop_vars("best_elbo")))
    with pytest.raises(InvalidInput, match="not finite"):
        read_linear(write(content(curvature=[np.nan, 1, 1])))
    bare = content()
    del bare.attrs["threshold"]
    with pytest.raises(InvalidInput, match="threshold"):
        read_linear(write(bare))


def test_the_figure_has_theory_as_lines_and_every_training_as_a_point(write) -> None:
    left, middle, right = linear_figure(read_linear(write(content()))).axes
    lines = [line for line in left.lines if len(line.get_xdata()) == 200]
    np.testing.assert_allclose(lines[0].get_ydata()[0], 15 / 16)
    np.testing.assert_allclose(lines[1].get_ydata()[[0, -1]], [0.75, 0])
    points = [line for line in left.lines if len(line.get_xdata()) == 3]
    assert len(points) == 4
    np.testing.assert_allclose(points[0].get_ydata(), PREDICTED[:, 0] + 0.001)
    assert middle.lines[1].get_xdata().size == 12
    assert middle.lines[2].get_xdata().size == 4
    assert right.lines[1].get_xdata()[0] == 2.0  # sqrt of the largest eigenvalue
    np.testing.assert_allclose(right.lines[3].get_ydata(), [3.0, 0.4, -0.1])
