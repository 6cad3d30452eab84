"""Sandwiches by number of temperatures, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.plots_sandwich import width_figure
from analysis.report import write_report
from analysis.runs import read_study
from analysis.sandwich import rungs
from analysis.sections_sandwich import sandwich_findings

# Upper minus lower: 2, 4 at T = 10; 1, 0 at T = 100. log p(x) is -3, -4.
ROWS = {
    "ais:100": ("LOWER_BOUND", [-3.5, -4.5]),
    "bdmc:100": ("UPPER_BOUND", [-2.5, -4.5]),
    "ais:10": ("LOWER_BOUND", [-4.0, -6.0]),
    "bdmc:10": ("UPPER_BOUND", [-2.0, -2.0]),
    "iw:10": ("LOWER_BOUND", [-9.0, -9.0]),
    "exact": ("EXACT", [-3.0, -4.0]),
}


def test_widths_and_errors(make_evidence) -> None:
    first, second = rungs(make_evidence(ROWS))
    assert (first.temperatures, second.temperatures) == (10, 100)
    assert first.width == pytest.approx((3.0, 1.0))
    assert second.width == pytest.approx((0.5, 0.5))
    assert first.lower == pytest.approx((-5.0, 1.0))
    assert first.upper == pytest.approx((-2.0, 0.0))
    assert first.lower_error == pytest.approx((-1.5, 0.5))
    assert first.upper_error == pytest.approx((1.5, 0.5))
    assert second.upper_error == pytest.approx((0.0, 0.5))
    assert first.images == 2


def test_errors_are_not_known_without_the_exact_value(make_evidence) -> None:
    found = rungs(make_evidence({name: row for name, row in ROWS.items() if name != "exact"}))
    assert len(found) == 2
    assert np.isnan([rung.lower_error + rung.upper_error for rung in found]).all()


def test_half_a_sandwich_is_none(make_evidence) -> None:
    assert rungs(make_evidence({"ais:10": ROWS["ais:10"], "bdmc:100": ROWS["bdmc:100"]})) == []
    apart = {"ais:10": ("LOWER_BOUND", [-1.0, np.nan]), "bdmc:10": ("UPPER_BOUND", [np.nan, -1.0])}
    assert rungs(make_evidence(apart)) == []


def study(folders, rows: dict):
    folders.run("vae/seed-0", "VAE", {"elbo:4": ("LOWER_BOUND", [-9.0, -9.5])}, images=[0, 1])
    folders.evidence("vae/seed-0", rows, file="sandwich.nc", split="simulated")
    return read_study(folders.study({"vae": ["vae/seed-0"]}))


def test_the_section_draws_what_falls(folders) -> None:
    found = sandwich_findings(study(folders, ROWS))
    assert [(row.member, row.seed, row.rung.temperatures) for row in found.rows] == [("vae", 0, 10), ("vae", 0, 100)]
    assert found.has_exact
    assert found.picture is not None
    page = write_report(folders.root)[0].read_text()
    assert "3.000 &plusmn; 1.000" in page
    assert "\N{MINUS SIGN}1.500 &plusmn; 0.500" in page


def test_one_number_of_temperatures_has_no_line(folders) -> None:
    rows = {name: row for name, row in ROWS.items() if name.endswith(":10")}
    found = sandwich_findings(study(folders, rows))
    assert (len(found.rows), found.has_exact, found.picture) == (1, False, None)
    assert "bdmc:100 bdmc:300 bdmc:1000" in write_report(folders.root)[0].read_text()


def test_a_width_of_zero_or_less_is_on_the_plot(make_evidence) -> None:
    rows = ROWS | {"bdmc:100": ("UPPER_BOUND", [-3.6, -4.6])}
    axes = width_figure([("vae", rungs(make_evidence(rows)))], {"vae": "#000000"}).axes[0]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o")
    assert list(line.get_xdata()) == [10, 100]
    assert list(line.get_ydata()) == pytest.approx([3.0, -0.1])
    low, high = axes.get_ylim()
    assert low < -0.1 < 3.0 < high
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "100"]
