"""The section on ranking and stacking, on the page and alone."""

from __future__ import annotations

import numpy as np

import analysis.report
from analysis.report import render_report
from analysis.runs import read_study
from analysis.sections_ranking import ranked


def test_the_page_ranks_and_says_why_nothing_is_mixed(compare_study) -> None:
    page = render_report(analysis.report.find(read_study(compare_study)))
    section = page.split('id="ranking"')[1].split("</section>")[0]
    assert section.index(">made<") < section.index(">vae<") < section.index(">independent_pixels<")
    assert "ArviZ compare plot" in section
    assert "There is no mixture" in section
    assert "evaluate RUN --split valid" in section
    assert "autoencoder: has no number" in section


def test_a_study_without_numbers_has_no_ranking(folders) -> None:
    folders.config("a")
    content = ranked(read_study(folders.study({"a": ["a"]})))
    assert (content["rows"], content["picture"]) == ([], None)
    assert "has no evidence" in content["reason"]


def test_an_impossible_image_is_ranked_and_not_drawn(folders) -> None:
    for name, value in (("a", -1.0), ("b", -np.inf)):
        folders.config(name)
        folders.evidence(name, {"exact": ("EXACT", [-2.0, value, -2.5])})
    content = ranked(read_study(folders.study({"a": ["a"], "b": ["b"]})))
    assert [row["member"] for row in content["rows"]] == ["a", "b"]
    assert content["rows"][1]["log_evidence"] == -np.inf
    assert content["picture"] is None
