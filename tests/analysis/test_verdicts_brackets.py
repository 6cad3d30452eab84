"""Verdicts on hand-made brackets: the word, the printed numbers and the p-values are worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.contenders import Contender, Width, sandwich_width
from analysis.errors import InvalidInput
from analysis.evidence import read_evidence
from analysis.sides import converged_side, lower_side, upper_side
from analysis.verdicts import Pair, Word, judge

# Symmetric about zero, so that the correction for skewness is exactly nothing and p is Student's.
SPREAD = np.array([-0.3, -0.2, -0.1, -0.1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.2, 0.3])
BASE = -np.arange(20.0, 32.0)
ROWS = {
    "EXACT": "exact",
    "NUMERICAL": "quadrature",
    "LOWER_BOUND": "iw:5",
    "ESTIMATE": "jiw:5",
}


def evidence_of(make_evidence, claim: str, values: np.ndarray, tolerance: float = 0.01):
    return make_evidence({ROWS.get(claim, claim): (claim, values)}, tolerance=tolerance)


def one_pair(make_evidence, left: dict, right: dict, sandwiches: tuple = ()):
    pair = Pair("runs", Contender("A", (make_evidence(**left),)), Contender("B", (make_evidence(**right),), sandwiches))
    return judge([pair])[0][0]


@pytest.mark.parametrize(("left", "right"), list(itertools.product(ROWS, ROWS)))
@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_the_word_follows_from_the_two_claims(make_evidence, left: str, right: str, shift: float) -> None:
    """A winner may be exact, numerical or a lower bound; a loser exact or numerical; an estimate is neither."""
    a, b = (
        Contender(name, (evidence_of(make_evidence, claim, values),))
        for name, claim, values in (("A", left, BASE + shift + SPREAD), ("B", right, BASE))
    )
    winner, loser = (left, right) if shift > 0 else (right, left)
    said = winner in ("EXACT", "NUMERICAL", "LOWER_BOUND") and loser in ("EXACT", "NUMERICAL")
    verdict = judge([Pair("runs", a, b)])[0][0]
    assert verdict.word is (Word.ESTABLISHED if said else Word.UNDECIDED)
    assert verdict.higher == (("A" if shift > 0 else "B") if said else None)
    assert bool(verdict.would_decide) is not said


def test_p_is_one_sided_paired_and_counted_in_both_directions(make_evidence) -> None:
    d = 0.1 + SPREAD
    n, mean, spread = 12, 0.1, np.sqrt(np.sum(SPREAD**2) / 11)
    t = mean / (spread / np.sqrt(n))
    p = stats.t.sf(t, n - 1)
    verdict = one_pair(
        make_evidence, {"estimators": {"exact": ("EXACT", BASE + d)}}, {"estimators": {"exact": ("EXACT", BASE)}}
    )
    assert verdict.finding.from_claims.p == pytest.approx(p, rel=1e-9)
    assert verdict.finding.from_claims.stderr == pytest.approx(spread / np.sqrt(n), rel=1e-9)
    assert verdict.p_adjusted == pytest.approx(2 * p, rel=1e-9), "two directions were open before the data were seen"
    # unpaired the same numbers show nothing: the images differ by 3.6 nats, the programs by 0.1
    assert stats.ttest_ind(BASE + d, BASE, alternative="greater").pvalue > 0.4


@pytest.mark.parametrize(("factor", "word"), [(1.001, Word.ESTABLISHED), (0.999, Word.UNDECIDED)])
def test_the_level_is_five_percent_after_holm(make_evidence, factor: float, word: Word) -> None:
    """The mean at which 2 p = .05 exactly, a little more and a little less."""
    error = np.sqrt(np.sum(SPREAD**2) / 11) / np.sqrt(12)
    mean = stats.t.isf(0.025, 11) * error
    rows = {"estimators": {"exact": ("EXACT", BASE + factor * mean + SPREAD)}}
    assert one_pair(make_evidence, rows, {"estimators": {"exact": ("EXACT", BASE)}}).word is word


def test_holm_runs_over_the_pairs_of_the_report_step_by_step(make_evidence) -> None:
    """Three programs, three pairs, six ordered tests; the adjusted values by Holm's rule written out."""
    error = np.sqrt(np.sum(SPREAD**2) / 11) / np.sqrt(12)

    def contender(name: str, values: np.ndarray) -> Contender:
        return Contender(name, (make_evidence({"exact": ("EXACT", values)}),))

    b = BASE
    a, c = b + 3.5 * error + SPREAD, b - 2.2 * error - SPREAD  # a - c = 5.7 errors of mean, twice the spread
    a, b, c = contender("a", a), contender("b", b), contender("c", c)
    p_ab, p_bc, p_ac = (stats.t.sf(t, 11) for t in (3.5, 2.2, 5.7 / 2))
    assert p_ab < p_ac < p_bc
    verdicts, _ = judge([Pair("runs", a, b), Pair("runs", b, c), Pair("runs", a, c)])
    assert [v.p_adjusted for v in verdicts] == pytest.approx([6 * p_ab, max(6 * p_ab, 5 * p_ac, 4 * p_bc), 5 * p_ac])
    assert [v.word for v in verdicts] == [Word.ESTABLISHED, Word.UNDECIDED, Word.ESTABLISHED]


def test_tolerances_of_both_sides_are_given_away(make_evidence) -> None:
    """-20.0 +- .25 against -21.0 +- .25: certain are 0.5 nats, and that is what is printed and tested."""
    rows = {
        "A": (BASE + SPREAD, 0.25),
        "B": (BASE - 1, 0.25),
    }
    a, b = (
        Contender(name, (evidence_of(make_evidence, "NUMERICAL", values, tolerance),))
        for name, (values, tolerance) in rows.items()
    )
    verdict = judge([Pair("runs", a, b)])[0][0]
    assert verdict.word is Word.ESTABLISHED
    assert verdict.finding.from_claims.mean == pytest.approx(0.5)
    assert "by at least 0.500" in verdict.why
    wide = Contender("B", (evidence_of(make_evidence, "NUMERICAL", BASE - 1, 0.75),))
    assert judge([Pair("runs", a, wide)])[0][0].word is Word.UNDECIDED


@pytest.mark.parametrize("upper", [-0.0, -1e-6])
def test_a_tight_simulated_bracket_certifies_nothing_about_given_images(make_evidence, upper: float) -> None:
    """Width 0 on simulated images, and the bounded program is still not established to be worse: only indicated."""
    simulated = make_evidence({"ais:9": ("LOWER_BOUND", BASE - 50), "bdmc:9": ("UPPER_BOUND", BASE - 50 + upper)})
    bounded = {"estimators": {"ais:9": ("LOWER_BOUND", BASE - 5 + SPREAD)}}
    exact = {"estimators": {"exact": ("EXACT", BASE)}}
    verdict = one_pair(make_evidence, exact, bounded, (simulated,))
    assert (verdict.word, verdict.higher) == (Word.INDICATED, "A")
    assert "has converged; simulated width of B:" in verdict.why
    contender = Contender("B", (make_evidence(**bounded),), (simulated,))
    assert contender.upper_side is None
    assert contender.lower_side.nats.tolist() == [(BASE - 5 + SPREAD).tolist()]


def test_an_upper_bound_on_given_images_is_refused_with_the_place_where_it_may_stand(folders) -> None:
    file = folders.evidence("run", {"bdmc:9": ("UPPER_BOUND", BASE)})
    with pytest.raises(InvalidInput, match=r"UPPER_BOUND on given images does not exist; write it to sandwich\.nc"):
        read_evidence(file)


def test_the_width_is_of_the_annealing_that_the_verdict_rests_on(make_evidence) -> None:
    simulated = make_evidence(
        {
            "iw:5000": ("LOWER_BOUND", [-9.0, -9.0]),
            "ais:100": ("LOWER_BOUND", [-4.0, -5.0]),
            "bdmc:100": ("UPPER_BOUND", [-3.0, -2.0]),
            "ais:1000": ("LOWER_BOUND", [-3.0, -3.0]),
            "bdmc:1000": ("UPPER_BOUND", [-2.9, -2.7]),
        }
    )
    longest = Width(pytest.approx(0.2), pytest.approx(0.1), "ais:1000", "bdmc:1000", 2)
    assert sandwich_width(simulated) == longest
    assert sandwich_width(simulated, "ais:100") == Width(2.0, 1.0, "ais:100", "bdmc:100", 2)
    assert sandwich_width(simulated, "ais:77") == longest
    bounded = {"estimators": {"ais:100": ("LOWER_BOUND", BASE - 5 + SPREAD)}}
    verdict = one_pair(make_evidence, {"estimators": {"exact": ("EXACT", BASE)}}, bounded, (simulated,))
    assert "simulated width of B: 2.000 \N{PLUS-MINUS SIGN} 1.000 nats" in verdict.why


def test_the_widest_seed_speaks_for_a_method_and_half_a_sandwich_has_no_width(make_evidence) -> None:
    def sandwich(width: float):
        return make_evidence({"ais:9": ("LOWER_BOUND", BASE), "bdmc:9": ("UPPER_BOUND", BASE + width + SPREAD)})

    half = make_evidence({"ais:9": ("LOWER_BOUND", BASE)})
    gaps = make_evidence({"ais:9": ("LOWER_BOUND", [-1.0, np.nan]), "bdmc:9": ("UPPER_BOUND", [np.nan, -1.0])})
    assert sandwich_width(half) is None
    assert sandwich_width(gaps) is None
    contender = Contender("B", (), (sandwich(0.25), half, sandwich(0.75), sandwich(0.5)))
    contender.__dict__["converged_side"] = None
    assert contender.width_in_words.startswith("simulated width of B: 0.750")
    contender = Contender("B", (), (half, gaps))
    contender.__dict__["converged_side"] = None
    assert contender.width_in_words == "width of B not simulated"


def test_an_estimate_by_the_name_of_an_annealing_is_no_converged_value(make_evidence) -> None:
    """Someone's numbers may be called ais and claim no direction: nothing is indicated from them."""
    named = make_evidence({"ais:9": ("ESTIMATE", BASE - 5 + SPREAD)})
    assert (lower_side(named), upper_side(named), converged_side(named)) == (None, None, None)
    bounded = {"estimators": {"iw:5": ("LOWER_BOUND", BASE - 6), "ais:9": ("ESTIMATE", BASE - 5 + SPREAD)}}
    verdict = one_pair(make_evidence, {"estimators": {"exact": ("EXACT", BASE)}}, bounded)
    assert verdict.word is Word.UNDECIDED
    assert verdict.would_decide == "run ais on B"
