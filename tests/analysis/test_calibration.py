"""What a report says of ``calibration.nc``: verdicts follow from ranks and band, and bounds keep their claims."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from analysis.calibration import read_calibration, sentences, simulated_rows
from analysis.claims import Claim
from analysis.errors import InvalidInput
from tests.analysis.guide_files import DRAWS, NOTHING_FOUND, calibration_dataset, ranks_of, write_calibration


def test_counts_are_those_of_the_ranks(tmp_path) -> None:
    found = read_calibration(write_calibration(tmp_path))
    assert (found.draws, found.num_simulations) == (DRAWS, 200)
    expected = [[sum(rank < i for rank in row) for i in range(1, DRAWS + 1)] for row in found.ranks]
    assert found.counts.tolist() == expected
    assert found.points[[0, -1]].tolist() == [0.05, 0.95]


def test_sentences_name_faults_with_their_meaning_and_what_was_not_found(tmp_path) -> None:
    head, *rest = sentences(read_calibration(write_calibration(tmp_path)))
    assert head == "DiagonalNormal for VAE: 2 of 3 quantities are not calibrated."
    probable, narrow, calm = rest
    assert probable.startswith("log p(x, z): draws too probable; its draws sit closer to the posterior's mode")
    assert "intervals hold" not in probable  # an interval of log p(x, z) is no credible interval of a latent
    # P(|N(0, 1.6^2)| < 1.2816) = 57.7%, and what falls beyond all draws is counted there too
    assert narrow.startswith("z[0]: overconfident; its intervals are too narrow for how often they miss")
    assert "its 80% intervals hold the truth 57.0% of the time" in narrow or "58.0%" in narrow
    assert calm == f"z[1]: {NOTHING_FOUND} in 200 simulations: its 80% intervals hold the truth 80.0% of the time."


def test_a_calibrated_guide_has_no_fault_and_no_proof(tmp_path) -> None:
    rows = np.stack([ranks_of(), ranks_of(), ranks_of()])
    head, *rest = sentences(read_calibration(write_calibration(tmp_path, rows, [NOTHING_FOUND] * 3)))
    assert "0 of 3 quantities" in head
    (only,) = rest
    assert only.startswith("z[0], z[1], log p(x, z): nothing found in 200 simulations: its 80% intervals hold")


def test_long_lists_are_cut(tmp_path) -> None:
    rows = np.stack([ranks_of()] * 13)
    only = sentences(read_calibration(write_calibration(tmp_path, rows, [NOTHING_FOUND] * 13)))[1]
    assert "z[7] and 5 more:" in only


def test_two_faults_of_one_latent_are_both_explained(tmp_path) -> None:
    rows = np.stack([ranks_of(1.6, 0.8), ranks_of()])
    found = read_calibration(write_calibration(tmp_path, rows, ["biased low, overconfident", NOTHING_FOUND]))
    assert "its draws lie too low and its intervals are too narrow" in sentences(found)[1]


def test_bounds_keep_their_claims_and_are_paired(tmp_path) -> None:
    found = read_calibration(write_calibration(tmp_path))
    rows = {row.estimator: row for row in simulated_rows(found)}
    assert [row.claim for row in rows.values()] == [Claim.LOWER_BOUND, Claim.EXACT, Claim.UPPER_BOUND]
    assert np.isnan(rows["elbo:19"].above_elbo)
    assert (rows["exact"].above_elbo, rows["eubo"].above_elbo) == pytest.approx((0.75, 2.0))
    # the images differ by nats; the differences do not, and their error shows it
    assert rows["eubo"].stderr > 0.1
    assert rows["eubo"].above_elbo_stderr == pytest.approx(0, abs=1e-9)
    nats = found.log_evidence["exact"][1]
    assert rows["exact"].mean == pytest.approx(nats.mean())
    assert rows["exact"].stderr == pytest.approx(nats.std(ddof=1) / 200**0.5)


def test_a_missing_file_names_the_command(tmp_path) -> None:
    with pytest.raises(InvalidInput, match=r"python -m inference\.evaluate --sbc"):
        read_calibration(tmp_path / "calibration.nc")


def broken(change) -> xr.Dataset:
    rows = np.stack([ranks_of(1.6), ranks_of(), ranks_of()])
    dataset = calibration_dataset(rows, ["overconfident", NOTHING_FOUND, NOTHING_FOUND])
    return change(dataset)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop_vars("rank"), "rank: this variable is missing"),
        (lambda d: d.drop_attrs(), "units: this attribute is missing"),
        (lambda d: d.assign_attrs(units="bits"), "units bits: are not nats"),
        (lambda d: d.assign_attrs(draws=18), r"rank: lies outside 0\.\.18"),
        (lambda d: d.assign_attrs(draws=20), "band_lower: has 19 points, not 20"),
        (lambda d: d.assign(rank=d["rank"] - 1), "rank: lies outside"),
        (lambda d: d.assign_coords(claim=("estimator", ["LOWER_BOUND", "CERTAIN", "EXACT"])), "claim CERTAIN"),
        (
            lambda d: d.assign_coords(verdict=("quantity", [NOTHING_FOUND] * 3)),
            r"z\[0\]: nothing found: its ranks leave the band",
        ),
        (
            lambda d: d.assign_coords(verdict=("quantity", ["overconfident", "biased low", NOTHING_FOUND])),
            r"z\[1\]: biased low: its ranks stay inside the band",
        ),
    ],
)
def test_files_that_contradict_themselves_are_refused(change, words: str, tmp_path) -> None:
    path = tmp_path / "calibration.nc"
    broken(change).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InvalidInput, match=words):
        read_calibration(path)


@pytest.mark.parametrize("point", [0, 9, 18])
@pytest.mark.parametrize("side", ["band_lower", "band_upper"])
def test_a_rank_outside_at_any_one_point_is_outside(point: int, side: str, tmp_path) -> None:
    """The verdict is checked at every point and on both sides, ends included."""
    dataset = broken(lambda d: d)
    count = int((dataset["rank"].values[1] < point + 1).sum())
    for off, refused in ((0, False), (1 if side == "band_lower" else -1, True)):
        limit = dataset[side].copy()
        limit[point] = count + off
        path = tmp_path / f"{off}" / "calibration.nc"
        path.parent.mkdir()
        rows = {"quantity": [1]}
        dataset.isel(rows).assign({side: limit}).to_netcdf(path, engine="h5netcdf")
        if refused:
            with pytest.raises(InvalidInput, match="leave the band"):
                read_calibration(path)
        else:
            assert read_calibration(path).verdicts == (NOTHING_FOUND,)
