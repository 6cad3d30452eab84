"""The table of what is established and what would decide the rest."""

from __future__ import annotations

import numpy as np

from analysis.agenda import METHODS, RUNS, agenda
from analysis.contenders import Contender
from analysis.pairs import Judgement
from analysis.verdicts import Pair, Word, judge

SPREAD = np.array([-0.3, -0.2, -0.1, -0.1, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.2, 0.3])
BASE = -np.arange(20.0, 32.0)


def judgement(make_evidence, rows: dict[str, dict], pairs: list[tuple[str, str]], scope: str = "runs") -> Judgement:
    contenders = {name: Contender(name, (make_evidence(values),)) for name, values in rows.items()}
    verdicts, _ = judge([Pair(scope, contenders[a], contenders[b]) for a, b in pairs])
    return Judgement(tuple(verdicts), (), (), (), 2 * len(verdicts))


def test_rows_go_from_established_to_undecided_and_share_an_action(make_evidence) -> None:
    rows = {
        "made": {"exact": ("EXACT", BASE)},
        "pixels": {"exact": ("EXACT", BASE - 5 + SPREAD)},
        "vae": {"iw:5": ("LOWER_BOUND", BASE - 2 + SPREAD)},
        "iwae": {"iw:5": ("LOWER_BOUND", BASE - 2.5 - SPREAD)},
        "annealed": {"ais:9": ("LOWER_BOUND", BASE - 3 - SPREAD)},
    }
    pairs = [("vae", "made"), ("iwae", "made"), ("made", "annealed"), ("pixels", "made"), ("vae", "pixels")]
    table = agenda(judgement(make_evidence, rows, pairs))
    assert [row.word for row in table] == [Word.ESTABLISHED, Word.INDICATED, Word.UNDECIDED, Word.UNDECIDED]
    assert table[0].pairs == (("made > pixels", RUNS), ("vae > pixels", RUNS))
    assert table[0].action == ""
    assert table[1].pairs == (("made > annealed", RUNS),)
    assert "exact or numerical log p(x) of annealed" in table[1].action
    assert [(row.pairs, row.action) for row in table[2:]] == [
        ((("vae, made", RUNS),), "run ais on vae"),
        ((("iwae, made", RUNS),), "run ais on iwae"),
    ]


def test_runs_that_differ_are_undecided_as_a_whole_and_methods_are_told_apart(make_evidence) -> None:
    rows = {
        "a/seed-0": {"exact": ("EXACT", BASE)},
        "b/seed-0": {"exact": ("EXACT", BASE - 1 + SPREAD)},
        "a/seed-1": {"exact": ("EXACT", BASE)},
        "b/seed-1": {"exact": ("EXACT", BASE + 1 + SPREAD)},
        "a/seed-2": {"exact": ("EXACT", BASE)},
        "b/seed-2": {"exact": ("EXACT", BASE + 0.001 * SPREAD)},
    }
    opposed = [(f"a/seed-{s}", f"b/seed-{s}") for s in (0, 1)]
    table = agenda(judgement(make_evidence, rows, opposed))
    assert [(row.word, row.pairs) for row in table] == [(Word.UNDECIDED, (("a, b", RUNS),))]
    assert table[0].action == "more seeds: the runs of the two differ in direction"
    table = agenda(judgement(make_evidence, rows, [*opposed, ("a/seed-2", "b/seed-2")]))
    assert table[0].action == "more images", "of runs that differ, what decides the undecided ones"
    table = agenda(judgement(make_evidence, rows, [("a/seed-0", "b/seed-0")], scope="methods"))
    assert (table[0].pairs, table[0].action) == ((("a/seed-0, b/seed-0", METHODS),), "more seeds")


def test_no_pair_no_row() -> None:
    assert agenda(Judgement((), (), (), (), 0)) == []
