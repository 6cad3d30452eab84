"""What a file says of log p(x), by rule: hand-made evidence, and which side each claim may stand on."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from inference.gaps import bracket_of, nothing_known

IMAGES = [4, 7, 9]


def evidence(**rows: tuple[str, list[float]]) -> xr.Dataset:
    """Estimators (``iw_10`` stands for ``iw:10``) with claim and values of the three images; every stderr is 0.5."""
    names = [name.replace("_", ":") for name in rows]
    claims, values = zip(*rows.values(), strict=True)
    dims = ("estimator", "image")
    columns = {"log_evidence": (dims, np.array(values, float)), "stderr": (dims, np.full((len(rows), 3), 0.5))}
    tolerance = [0.25 if claim == "NUMERICAL" else np.nan for claim in claims]
    coords = {"estimator": names, "claim": ("estimator", list(claims)), "tolerance": ("estimator", tolerance)}
    return xr.Dataset(columns, {**coords, "image": IMAGES})


def test_an_exact_value_is_both_sides() -> None:
    found = bracket_of(evidence(exact=("EXACT", [-1, -2, -3]), ais_9=("LOWER_BOUND", [0, 0, 0])), IMAGES)
    assert found.lower.tolist() == found.upper.tolist() == [-1, -2, -3]
    assert found.lower_stderr.tolist() == found.upper_stderr.tolist() == [0, 0, 0]
    assert found.lower_source == found.upper_source == "exact (EXACT)"


def test_a_numerical_value_is_both_sides_by_its_tolerance() -> None:
    found = bracket_of(evidence(iw_9=("LOWER_BOUND", [0] * 3), quadrature=("NUMERICAL", [-1, -2, -3])), IMAGES)
    assert (found.lower.tolist(), found.upper.tolist()) == ([-1.25, -2.25, -3.25], [-0.75, -1.75, -2.75])


def test_a_lower_bound_is_chosen_by_name_and_not_by_value() -> None:
    found = bracket_of(
        evidence(iw_5000=("LOWER_BOUND", [9] * 3), ais_10=("LOWER_BOUND", [7] * 3), ais_100=("LOWER_BOUND", [-5] * 3),
                 ais_20=("LOWER_BOUND", [8] * 3)),
        IMAGES,
    )  # fmt: skip
    assert (found.lower.tolist(), found.lower_source) == ([-5] * 3, "ais:100 (LOWER_BOUND)")
    assert found.lower_stderr.tolist() == [0.5] * 3
    assert np.isnan(found.upper).all()  # nothing bounds log p(x) from above on given images
    assert found.upper_source == ""


def test_neither_an_elbo_nor_an_estimate_is_a_side() -> None:
    found = bracket_of(evidence(elbo_64=("LOWER_BOUND", [-5] * 3), jackknife_64=("ESTIMATE", [-4] * 3)), IMAGES)
    assert np.isnan(found.lower).all()
    assert np.isnan(found.upper).all()
    assert (found.lower_source, found.upper_source) == ("", "")


def test_simulated_images_have_an_upper_side() -> None:
    found = bracket_of(evidence(ais_9=("LOWER_BOUND", [-2] * 3), bdmc_9=("UPPER_BOUND", [-1] * 3)), IMAGES)
    assert (found.lower.tolist(), found.upper.tolist()) == ([-2] * 3, [-1] * 3)
    assert found.upper_source == "bdmc:9 (UPPER_BOUND)"


def test_images_are_taken_by_index_and_a_row_that_lacks_one_is_passed_over() -> None:
    rows = evidence(iw_9=("LOWER_BOUND", [-1, -2, -3]), ais_9=("LOWER_BOUND", [-1, np.nan, -3]))
    assert bracket_of(rows, [9, 4]).lower_source == "ais:9 (LOWER_BOUND)"
    found = bracket_of(rows, [9, 7])
    assert (found.lower.tolist(), found.lower_source) == ([-3, -2], "iw:9 (LOWER_BOUND)")


@pytest.mark.parametrize("count", [1, 5])
def test_nothing_known(count) -> None:
    found = nothing_known(count)
    assert found.lower.shape == found.upper.shape == (count,)
    assert np.isnan([found.lower, found.upper, found.lower_stderr, found.upper_stderr]).all()
