"""Would the ELBO alone have ranked otherwise?"""

from __future__ import annotations

import numpy as np
import pytest

from analysis.ranking import elbo_ranking
from analysis.runs import read_study


def study(folders, bound: float, elbo: float, noise: float = 0.1):
    rng = np.random.default_rng(0)
    base = -20 - rng.gamma(9, 1, 100)
    tight = base + bound + rng.normal(0, noise, 100)
    folders.config("made")
    folders.evidence("made", {"exact": ("EXACT", base)})
    folders.config("vae", "VAE")
    rows = {"elbo:8": ("LOWER_BOUND", tight + elbo), "iw:50": ("LOWER_BOUND", tight)}
    folders.evidence("vae", rows)
    return read_study(folders.study({"made": ["made"], "vae": ["vae"]}))


def test_it_would_have(folders) -> None:
    statement = elbo_ranking(study(folders, bound=0.5, elbo=-1.0))
    assert statement.outcome == "would have"
    assert "puts vae above made, the tightest" not in statement.sentence
    assert "it puts made above vae, the tightest readings put vae above made" in statement.sentence
    assert statement.by_elbo[0].startswith("made")
    assert statement.by_best[0].startswith("vae")
    assert "lower bound" in statement.sentence
    assert "exact" in statement.sentence


def test_it_would_not_have(folders) -> None:
    statement = elbo_ranking(study(folders, bound=-0.5, elbo=-1.0))
    assert statement.outcome == "would not have"
    assert "would not have ranked otherwise" in statement.sentence


@pytest.mark.parametrize(("bound", "elbo"), [(0.0, -1.0), (0.5, -0.5)])
def test_within_error_it_cannot_be_said(folders, bound: float, elbo: float) -> None:
    statement = elbo_ranking(study(folders, bound, elbo, noise=2.0))
    assert statement.outcome == "not distinguishable"
    assert "made and vae" in statement.sentence


def test_it_takes_two_programs_and_an_elbo(folders) -> None:
    folders.config("made")
    folders.evidence("made", {"exact": ("EXACT", [-1.0, -2.0])})
    assert elbo_ranking(read_study(folders.root / "made")).outcome == "not applicable"
