"""Verdicts: the direction follows from the claims or it is not said."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.contenders import Contender, sandwich_width
from analysis.sides import best_values, converged_side, lower_side, upper_side
from analysis.verdicts import Pair, Word, judge

N = 200


@pytest.fixture
def base() -> np.ndarray:
    return -np.random.default_rng(1).gamma(9, 2, N)


def noisy(base: np.ndarray, shift: float, seed: int = 0, scale: float = 0.3) -> np.ndarray:
    return base + shift + np.random.default_rng(seed).normal(0, scale, base.size)


def test_exact_against_exact_is_established(verdict_on, base) -> None:
    other = noisy(base, -0.5)
    verdict = verdict_on({"exact": ("EXACT", base)}, {"exact": ("EXACT", other)})
    assert (verdict.word, verdict.higher) == (Word.ESTABLISHED, "A")
    difference = base - other
    expected = f"by {difference.mean():.3f} \N{PLUS-MINUS SIGN} {difference.std(ddof=1) / np.sqrt(N):.3f} nats"
    assert expected in verdict.why
    mirrored = verdict_on({"exact": ("EXACT", noisy(base, -0.5))}, {"exact": ("EXACT", base)})
    assert (mirrored.word, mirrored.higher) == (Word.ESTABLISHED, "B")


def test_a_bound_above_an_exact_value_is_established(verdict_on, base) -> None:
    verdict = verdict_on({"exact": ("EXACT", base)}, {"iw:50": ("LOWER_BOUND", noisy(base, 0.5))})
    assert (verdict.word, verdict.higher) == (Word.ESTABLISHED, "B")
    assert "at least" in verdict.why


def test_a_bound_below_an_exact_value_decides_nothing(verdict_on, base) -> None:
    verdict = verdict_on({"exact": ("EXACT", base)}, {"iw:50": ("LOWER_BOUND", noisy(base, -5))})
    assert (verdict.word, verdict.higher) == (Word.UNDECIDED, None)
    assert "cannot show that it is worse" in verdict.why
    assert "below the exact value of A" in verdict.why
    assert verdict.would_decide == "run ais on B"


def test_two_bounds_have_no_order(verdict_on, base) -> None:
    rows = {"iw:50": ("LOWER_BOUND", base)}
    verdict = verdict_on(rows, {"iw:50": ("LOWER_BOUND", noisy(base, -9))})
    assert verdict.word is Word.UNDECIDED
    assert verdict.would_decide == "run ais on A and B"


@pytest.mark.parametrize("shift", [-9.0, 9.0])
def test_an_estimate_establishes_nothing(verdict_on, base, shift: float) -> None:
    verdict = verdict_on({"exact": ("EXACT", base)}, {"smc:50": ("ESTIMATE", noisy(base, shift))})
    assert verdict.word is Word.UNDECIDED
    assert "estimate" in verdict.why


def test_annealing_indicates_and_never_establishes(verdict_on, base) -> None:
    bounded = {"iw:50": ("LOWER_BOUND", noisy(base, -2)), "ais:100": ("LOWER_BOUND", noisy(base, -1, 2))}
    verdict = verdict_on({"exact": ("EXACT", base)}, bounded)
    assert (verdict.word, verdict.higher) == (Word.INDICATED, "A")
    assert "only if ais:100 of B has converged" in verdict.why
    assert "width of B not simulated" in verdict.why


def test_the_simulated_width_is_printed(verdict_on, make_evidence, base) -> None:
    rows = {"ais:100": ("LOWER_BOUND", [-3.0, -2.0]), "bdmc:100": ("UPPER_BOUND", [-2.5, -1.0])}
    sandwich = make_evidence(rows)
    # widths .5 and 1: mean .75, s.e. = sqrt(.125 / 2) = .25
    width = sandwich_width(sandwich)
    assert (width.mean, width.stderr) == pytest.approx((0.75, 0.25))
    bounded = {"ais:100": ("LOWER_BOUND", noisy(base, -1))}
    verdict = verdict_on({"exact": ("EXACT", base)}, bounded, (sandwich,))
    assert verdict.word is Word.INDICATED
    assert "simulated width of B: 0.750 \N{PLUS-MINUS SIGN} 0.250 nats" in verdict.why
    assert "bdmc:100 \N{MINUS SIGN} ais:100 on 2 simulated images" in verdict.why


def test_annealing_below_another_bound_has_not_converged(verdict_on, base) -> None:
    bounded = {"iw:50": ("LOWER_BOUND", noisy(base, -1)), "ais:100": ("LOWER_BOUND", noisy(base, -3, 2))}
    verdict = verdict_on({"exact": ("EXACT", base)}, bounded)
    assert verdict.word is Word.UNDECIDED
    assert "not converged" in verdict.would_decide


def test_tolerance_counts_against_the_claim(verdict_on, base) -> None:
    def word(tolerance: float, shift: float) -> Word:
        rows = {"quadrature": ("NUMERICAL", noisy(base, shift, scale=0.01))}
        return verdict_on({"exact": ("EXACT", base)}, rows, tolerance=tolerance).word

    assert word(0.1, 0.5) is word(0.1, -0.5) is Word.ESTABLISHED
    assert word(0.6, 0.5) is word(0.6, -0.5) is Word.UNDECIDED


def test_sides_of_a_numerical_value(make_evidence) -> None:
    evidence = make_evidence({"quadrature": ("NUMERICAL", [-5.0])}, tolerance=0.25)
    assert lower_side(evidence).nats.tolist() == [[-5.25]]
    assert upper_side(evidence).nats.tolist() == [[-4.75]]


def test_the_bound_is_chosen_by_rule_and_not_by_value(make_evidence) -> None:
    rows = {"elbo:900": ("LOWER_BOUND", [-1.0]), "iw:5": ("LOWER_BOUND", [-2.0])}
    assert best_values(make_evidence(rows))[0].estimator == "iw:5"
    rows |= {"iw:50": ("LOWER_BOUND", [-3.0])}
    assert best_values(make_evidence(rows))[0].estimator == "iw:50"
    rows |= {"ais:10": ("LOWER_BOUND", [-4.0]), "smc:99": ("ESTIMATE", [-0.5])}
    assert best_values(make_evidence(rows))[0].estimator == "ais:10"
    assert upper_side(make_evidence(rows)) is None
    rows |= {"enumerate": ("NUMERICAL", [-5.0])}
    assert best_values(make_evidence(rows, tolerance=0.1))[0].estimator == "enumerate"
    rows |= {"exact": ("EXACT", [-6.0])}
    assert best_values(make_evidence(rows, tolerance=0.1))[0].estimator == "exact"


def test_converged_side_is_the_longest_annealing(make_evidence) -> None:
    rows = {"ais:10": ("LOWER_BOUND", [-4.0]), "ais:1000": ("LOWER_BOUND", [-4.5])}
    assert converged_side(make_evidence(rows)).estimator == "ais:1000"
    assert converged_side(make_evidence({"iw:10": ("LOWER_BOUND", [-4.0])})) is None


def test_incomparable_pairs_get_no_verdict_and_no_test(verdict_on, make_evidence, base) -> None:
    rows = {"exact": ("EXACT", base)}
    assert "measure differs" in verdict_on(rows, rows, measure="density")
    other = Contender("C", (make_evidence(rows, split="valid"),))
    pair = Pair("runs", Contender("A", (make_evidence(rows),)), other)
    verdicts, refused = judge([pair])
    assert verdicts == []
    assert "split differs" in refused[0][1]


def test_few_images_and_impossible_images_are_undecided(verdict_on) -> None:
    for n in (1, 2, 9):
        few = verdict_on({"exact": ("EXACT", np.full(n, -1.0))}, {"exact": ("EXACT", np.full(n, -1.001))})
        assert few.word is Word.UNDECIDED
        assert "too few images" in few.why
    nine = [-9.0] * 11
    for a in (-1.0, -np.inf):
        impossible = verdict_on({"exact": ("EXACT", [*nine, a])}, {"exact": ("EXACT", [*nine, -np.inf])})
        assert impossible.word is Word.UNDECIDED
        assert "not finite" in impossible.why


def test_the_number_of_images_is_said_if_it_is_not_all(verdict_on, base) -> None:
    short = noisy(base, -0.5)
    short[50:] = np.nan
    verdict = verdict_on({"exact": ("EXACT", base)}, {"exact": ("EXACT", short)})
    assert verdict.word is Word.ESTABLISHED
    assert f"on the first 50 of {N} images" in verdict.why
    assert "images" not in verdict_on({"exact": ("EXACT", base)}, {"exact": ("EXACT", noisy(base, -0.5))}).why


def test_holm_is_over_all_pairs_of_the_report(make_evidence) -> None:
    """A difference at p = .01 stands alone and falls among ten pairs that show nothing."""
    d = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0])  # mean 8/7, t = 2.25: p = .033 one-sided with 6 degrees
    d = np.concatenate([d, d])  # p about .0026, times 2 directions .0053
    zero = np.zeros(d.size)

    def contender(name: str, values: np.ndarray) -> Contender:
        return Contender(name, (make_evidence({"exact": ("EXACT", values - 50)}),))

    clear = Pair("runs", contender("A", d), contender("B", zero))
    null = Pair("runs", contender("C", zero), contender("D", zero))
    alone, _ = judge([clear])
    crowded, _ = judge([clear] + [null] * 10)
    assert alone[0].word is Word.ESTABLISHED
    assert crowded[0].word is Word.UNDECIDED
    assert crowded[0].p_adjusted == pytest.approx(11 * alone[0].p_adjusted)
    assert crowded[0].would_decide == "more images", "no further seed decides between two trained runs"


def test_methods_need_more_than_their_seeds_can_hide(make_evidence, base) -> None:
    """Run by run clear, but the spread between seeds is as large as the difference between the methods."""

    def method(name: str, shifts: list[float]) -> Contender:
        runs = [make_evidence({"exact": ("EXACT", noisy(base, s, i, 0.05))}) for i, s in enumerate(shifts)]
        return Contender(name, tuple(runs))

    spread = Pair("methods", method("A", [0.0, 0.4, -0.4]), method("B", [-0.1, -0.5, 0.3]))
    tight = Pair("methods", method("A", [0.0, 0.01, -0.01]), method("B", [-3.0, -3.01, -2.99]))
    undecided = judge([spread])[0][0]
    assert undecided.word is Word.UNDECIDED
    assert undecided.would_decide == "more images or more seeds"
    verdict = judge([tight])[0][0]
    assert (verdict.word, verdict.higher, verdict.scope) == (Word.ESTABLISHED, "A", "methods")


def test_seeds_that_share_no_estimator_are_not_mixed(make_evidence, base) -> None:
    runs = (make_evidence({"exact": ("EXACT", base)}), make_evidence({"iw:5": ("LOWER_BOUND", base)}))
    other = (make_evidence({"exact": ("EXACT", base - 9)}),) * 2
    verdict = judge([Pair("methods", Contender("A", runs), Contender("B", other))])[0][0]
    assert verdict.word is Word.UNDECIDED
    assert "common to its runs" in verdict.why
