"""Sweeps read out: means over seeds, points that are missing, and the maps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from analysis import report
from analysis.errors import InvalidInput
from analysis.plots_sweep import sweep_figure
from analysis.report import find, render_report, summary
from analysis.runs import read_study
from analysis.sections_sweep import sweep_entries
from analysis.sweeps import read_sweeps, sweep_statement

N, L = 20, 2


def collapse(folder: Path, rate: float, active: int) -> None:
    """``collapse.nc`` with a rate and a number of active units; information at half the rate."""
    values = {
        "rate": rate, "distortion": 20.0, "elbo": -20.0 - rate, "active_units": active, "num_latents": L,
        "information_lower": rate / 2, "information_upper": rate,
    }  # fmt: skip
    names, nan = list(values), np.full(N, np.nan)
    columns: dict[str, Any] = {
        "value": ("measure", list(map(float, values.values()))),
        "stderr": ("measure", np.zeros(len(names))), "stderr_monte_carlo": ("measure", np.zeros(len(names))),
        "kl": (("image", "latent"), np.zeros((N, L))),
    }  # fmt: skip
    for name in ("rate", "log_likelihood", "elbo", "log_likelihood_shuffled", "log_likelihood_prior"):
        columns[name] = ("image", nan)
    for name in ("information_lower", "information_upper"):
        columns[name] = ("image", nan)
    for name in ("mean_variance", "mean_variance_stderr", "prior_scale", "active", "active_scaled",
                 "information_latent", "information_latent_stderr"):  # fmt: skip
        columns[name] = ("latent", np.zeros(L))
    words = {"meaning": "m", "reason": "", "units": "nats", "claim": "ESTIMATE"}
    coords: dict[str, Any] = {key: ("measure", [word] * len(names)) for key, word in words.items()}
    coords |= {"measure": names, "image": np.arange(N), "latent": ["z[0]", "z[1]"], "site": ("latent", ["z", "z"])}
    attrs = {
        "units": "nats", "measure": "mass", "levels": 2, "program": "VAE", "guide": "DiagonalNormal", "data": "digits",
        "data_digest": "sha256:aaaa", "split": "test", "seed": 0, "num_images": N, "num_draws": 4, "threshold": 0.01,
    }  # fmt: skip
    xr.Dataset(columns, coords, attrs).to_netcdf(folder / "collapse.nc", engine="h5netcdf")


@pytest.fixture
def study(folders):
    """A sweep over window and depth; (3, 2) has one seed, (15, 2) none, (1, 1) two whose rates differ."""
    points = []
    for window in (1, 3, 15):
        for depth in (1, 2):
            seeds = (0, 1) if (window, depth) in ((1, 1), (3, 2)) else (0,)
            names = [f"sweeps/decoder/window-{window}--depth-{depth}/seed-{seed}" for seed in seeds]
            points.append({"values": {"window": window, "depth": depth}, "runs": names})
            for seed, name in enumerate(names):
                if (window, depth) == (15, 2) or ((window, depth, seed) == (3, 2, 1)):
                    continue
                nats = np.full(N, -10.0 - window - depth)
                folder = folders.run(name, "VAE", {"iw:200": ("LOWER_BOUND", nats)}, seed=seed, stderr=0.01)
                rate = (6.0 + 2 * seed if window == 1 else 2.0 if window == 3 else 0.1) / depth
                collapse(folder, rate, 2 if window < 15 else 0)
    folders.study({"made": ["sweeps/decoder/window-1--depth-1/seed-0"]})
    meta = json.loads((folders.root / "study.json").read_text())
    axes = {"window": [1, 3, 15], "depth": [1, 2]}
    meta |= {"study": "collapse", "linear": ["linear/images"]}
    sweep = {"name": "decoder", "recipe": "lossy_vae", "axes": axes, "fixed": {"epochs": 30}, "points": points}
    meta["sweeps"] = [sweep]
    (folders.root / "study.json").write_text(json.dumps(meta))
    return folders.root


def test_points_are_means_over_their_seeds(study) -> None:
    (grid,) = read_sweeps(read_study(study))
    assert grid.sides == ("window", "depth")
    np.testing.assert_allclose(grid.table("rate", {}), [[7.0, 3.0], [2.0, 1.0], [0.1, math.nan]])
    np.testing.assert_allclose(grid.table("information_lower", {})[:2], [[3.5, 1.5], [1.0, 0.5]])
    np.testing.assert_allclose(grid.table("log_evidence", {})[0], [-12, -13])
    np.testing.assert_allclose(grid.table("active_units", {})[:, 0], [2, 2, 0])
    by = {(p.values["window"], p.values["depth"]): p for p in grid.points}
    assert by[1, 1].spread["rate"] == pytest.approx(1.0)
    assert [by[key].seeds for key in ((1, 1), (3, 2), (15, 2))] == [2, 1, 0]
    assert grid.readings == ["iw:200, lower bound"]


def test_what_is_not_finished_is_named(study) -> None:
    (entry,) = sweep_entries(read_study(study))
    assert [words for words, _ in entry.left_out] == ["window 3, depth 2", "window 15, depth 2"]
    assert "window-3--depth-2/seed-1" in entry.left_out[0][1]
    assert "seed-0" not in entry.left_out[0][1]


def test_the_verdict_counts_collapsed_points(study) -> None:
    (grid,) = read_sweeps(read_study(study))
    assert sweep_statement(grid) == (
        "decoder (lossy_vae): the rate lies between 0.10 nats (window 15, depth 1) and 7.00 (window 1, depth 1); it is "
        "below 0.5 at 1 of 5 points."
    )


def test_a_map_has_the_numbers_in_their_cells_and_a_cross_for_none(study) -> None:
    (grid,) = read_sweeps(read_study(study))
    rate, active, _, evidence = sweep_figure(grid, {}).axes
    cells = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in rate.texts}
    assert cells == {(0, 0): "7.00", (0, 1): "3.00", (1, 0): "2.00", (1, 1): "1.00", (2, 0): "0.10", (2, 1): "\u00d7"}
    assert [label.get_text() for label in rate.get_xticklabels()] == ["1", "2"]
    assert [label.get_text() for label in rate.get_yticklabels()] == ["1", "3", "15"]
    assert (rate.get_ylabel(), rate.get_xlabel()) == ("window", "depth")
    assert "2.0" in [text.get_text() for text in active.texts]
    assert "\N{MINUS SIGN}12.00" in [text.get_text() for text in evidence.texts]


def test_one_axis_is_one_column_and_a_third_makes_slices(study) -> None:
    meta = json.loads((study / "study.json").read_text())
    entry = meta["sweeps"][0]
    one = [{"values": {"window": p["values"]["window"]}, "runs": p["runs"]} for p in entry["points"][::2]]
    three = [{"values": {**p["values"], "seed_axis": k}, "runs": p["runs"]} for p in entry["points"] for k in (0, 1)]
    meta["sweeps"] = [
        {**entry, "axes": {"window": [1, 3, 15]}, "points": one},
        {**entry, "name": "b", "axes": {**entry["axes"], "seed_axis": [0, 1]}, "points": three},
    ]
    (study / "study.json").write_text(json.dumps(meta))
    single, triple = read_sweeps(read_study(study))
    np.testing.assert_allclose(single.table("rate", {}), [[7.0], [2.0], [0.1]])
    assert triple.slices() == [{"seed_axis": 0}, {"seed_axis": 1}]
    assert sweep_figure(triple, triple.slices()[1]).get_suptitle() == "seed_axis 1"


def test_the_report_shows_the_maps_and_names_the_missing(study, monkeypatch) -> None:
    own = [section for section in report.SECTIONS if section.key in ("linear", "sweeps")]
    monkeypatch.setattr(report, "SECTIONS", own)
    found = find(read_study(study))
    page = render_report(found)
    assert "What makes a code collapse" in page
    assert any(line.startswith("sweep: ") and "below 0.5 at 1 of 5 points" in line for line in summary(found))
    assert "it is below 0.5 at 1 of 5 points" in page
    assert "linear/images/linear.nc; it failed, or was not finished" in page


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"axes": {}}, "axis"),
        ({"axes": {"window": []}}, "axis"),
        ({"points": [{"values": {}}]}, "runs"),
        ({"name": 3}, "name"),
    ],
)
def test_a_malformed_entry_is_refused(study, change, word) -> None:
    meta = json.loads((study / "study.json").read_text())
    meta["sweeps"] = [{**meta["sweeps"][0], **change}]
    (study / "study.json").write_text(json.dumps(meta))
    with pytest.raises(InvalidInput, match=word):
        read_sweeps(read_study(study))
