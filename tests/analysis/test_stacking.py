"""Stacking weights against closed forms and a grid; who may be mixed with whom."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import InvalidInput
from analysis.runs import read_study
from analysis.stacking import stack, stacking_weights


def test_disjoint_programs_get_the_shares_of_their_images() -> None:
    """Each image is possible under one member alone: sum_m n_m log w_m is greatest at w_m = n_m / N."""
    log_p = np.full((3, 10), -np.inf)
    log_p[0, :5], log_p[1, 5:8], log_p[2, 8:] = -3.0, -700.0, 2.0
    assert stacking_weights(log_p) == pytest.approx([0.5, 0.3, 0.2], abs=1e-4)


def test_the_best_of_a_grid() -> None:
    log_p = np.random.default_rng(0).normal(-20, 1.0, (2, 300)) + np.array([[0.0], [-0.4]])
    grid = np.linspace(0.001, 0.999, 999)
    score = [np.logaddexp(np.log(w) + log_p[0], np.log1p(-w) + log_p[1]).mean() for w in grid]
    assert stacking_weights(log_p)[0] == pytest.approx(grid[np.argmax(score)], abs=2e-3)


def test_a_dominated_program_gets_nothing() -> None:
    log_p = np.array([[-1.0, -2.0, -3.0], [-1.5, -2.5, -9.0]])
    assert stacking_weights(log_p) == pytest.approx([1, 0], abs=1e-6)


@pytest.mark.parametrize("log_p", [np.zeros(3), np.zeros((0, 3)), np.full((2, 3), -np.inf), np.full((2, 3), np.nan)])
def test_what_cannot_be_stacked(log_p) -> None:
    with pytest.raises(InvalidInput, match="log_p"):
        stacking_weights(log_p)


def write(folders, name: str, claim: str, valid, test, estimator: str = "exact", seed: int = 0, **options) -> str:
    path = f"{name}/seed-{seed}"
    folders.config(path, seed=seed)
    folders.evidence(path, {estimator: (claim, test)}, seed=seed)
    folders.evidence(path, {estimator: (claim, valid)}, file="evidence-valid.nc", seed=seed, split="valid", **options)
    return path


def test_weights_from_validation_are_read_on_the_test_images(folders) -> None:
    """Validation shares .5, .5 of disjoint images; on test the mixture of equals gives a mean by hand."""
    low = -60.0
    a, b = write(folders, "a", "EXACT", [-1, -1, low, low], [-2, -2, -2, low]), None
    b = write(folders, "b", "EXACT", [low, low, -1.1, -1.1], [-3, low, low, -5])
    (mixture,), left_out = stack(read_study(folders.study({"a": [a], "b": [b]})))
    assert left_out == []
    assert mixture.weights == pytest.approx((0.5, 0.5), abs=1e-4)
    by_hand = np.log([0.5 * np.exp(-2) + 0.5 * np.exp(-3), 0.5 * np.exp(-2), 0.5 * np.exp(-2), 0.5 * np.exp(-5)])
    assert mixture.log_evidence == pytest.approx(by_hand.mean(), abs=1e-4)
    assert mixture.stderr == pytest.approx(by_hand.std(ddof=1) / 2, abs=1e-4)
    difference = by_hand - np.array([-2, -2, -2, low])
    assert (mixture.best, mixture.num_valid, mixture.num_test) == ("a", 4, 4)
    assert mixture.gain == pytest.approx(difference.mean(), abs=1e-4)
    assert mixture.gain_stderr == pytest.approx(difference.std(ddof=1) / 2, abs=1e-4)


def test_seeds_are_mixed_as_probabilities(folders) -> None:
    """log (e^-1 + e^-3) / 2 and not the mean -2; the other member is far below and gets no weight."""
    runs = [write(folders, "a", "EXACT", [v] * 3, [v] * 3, seed=s) for s, v in enumerate((-1.0, -3.0))]
    other = write(folders, "b", "EXACT", [-40.0] * 3, [-40.0] * 3)
    (mixture,), _ = stack(read_study(folders.study({"a": runs, "b": [other]})))
    assert mixture.log_evidence == pytest.approx(np.log((np.exp(-1) + np.exp(-3)) / 2), abs=1e-6)


def test_only_equal_claims_are_mixed(folders) -> None:
    values = [-1.0, -2.0, -3.0]
    members = {
        "a": [write(folders, "a", "EXACT", values, values)],
        "b": [write(folders, "b", "LOWER_BOUND", values, values, "iw:5000")],
        "c": [write(folders, "c", "LOWER_BOUND", values, values, "elbo:64")],
        "d": [write(folders, "d", "ESTIMATE", values, values, "jackknife:50")],
        "e": [write(folders, "e", "LOWER_BOUND", values, values, "iw:5000")],
        "f": [write(folders, "f", "EXACT", values, values)],
    }
    (folders.root / "f/seed-0/evidence-valid.nc").unlink()
    mixtures, left_out = stack(read_study(folders.study(members)))
    assert [(one.label, one.members) for one in mixtures] == [("iw:5000, lower bound", ("b", "e"))]
    assert sorted(name for name, _ in left_out) == ["a", "c", "d", "f"]
    assert "--split valid" in dict(left_out)["f"]


def test_other_validation_images_are_not_mixed(folders) -> None:
    values = [-1.0, -2.0, -3.0]
    members = {
        "a": [write(folders, "a", "EXACT", values, values)],
        "b": [write(folders, "b", "EXACT", values, values, images=[3, 4, 5])],
    }
    mixtures, left_out = stack(read_study(folders.study(members)))
    assert mixtures == []
    assert left_out[0][0] == "a, b"
    assert "not comparable" in left_out[0][1]


def test_the_best_single_member_is_that_of_the_validation_images(folders) -> None:
    """On the test images b is better: the gain is over a all the same."""
    a = write(folders, "a", "EXACT", [-1.0, -1.0, -1.0], [-5.0, -5.0, -5.0])
    b = write(folders, "b", "EXACT", [-2.0, -2.0, -2.0], [-4.0, -4.0, -4.0])
    (mixture,), _ = stack(read_study(folders.study({"a": [a], "b": [b]})))
    assert mixture.best == "a"
    assert mixture.gain == pytest.approx(0.0, abs=1e-6)
