"""Would the ELBO alone have ranked otherwise?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.pairs import judge_study
from analysis.ranking import elbo_ranking
from analysis.readings import read_members
from analysis.report import write_report
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


def test_within_error_the_means_rank_otherwise_and_no_more_is_said(folders) -> None:
    statement = elbo_ranking(study(folders, bound=0.4, elbo=-2.0, noise=2.0))
    assert statement.outcome == "by the means only"
    assert "ranks otherwise (made above vae, where the tightest readings put vae above made)" in statement.sentence
    assert "the difference between vae and made by the tightest readings" in statement.sentence
    assert "nats over images alone: trained runs, not methods) is within error" in statement.sentence
    assert "By the ELBO alone one would have concluded that made is better" in statement.sentence
    assert (
        "made above vae\N{RIGHT DOUBLE QUOTATION MARK} is not borne out: the importance-weighted bound of vae, also a"
        in (statement.sentence)
    )
    assert "both beyond their errors" not in statement.sentence


def test_the_same_order_within_error(folders) -> None:
    statement = elbo_ranking(study(folders, bound=0.0, elbo=-0.1, noise=2.0))
    assert statement.outcome == "would not have"
    assert "every pair keeps its order, though within error between made and vae" in statement.sentence


def test_seeds_are_no_fixed_things(folders) -> None:
    """Clear over images, but the three seeds of each differ by as much: no more than "by their means"."""
    rng = np.random.default_rng(0)
    base, shifts = -20 - rng.gamma(9, 1, 100), {"made": (0.0, 0.4, -0.4), "vae": (0.2, 0.7, 0.0)}
    for seed in range(3):
        made, vae = (base + shifts[name][seed] + rng.normal(0, 0.05, 100) for name in ("made", "vae"))
        folders.config(f"made/{seed}", seed=seed)
        folders.evidence(f"made/{seed}", {"exact": ("EXACT", made)}, seed=seed)
        folders.config(f"vae/{seed}", "VAE", seed=seed)
        rows = {"elbo:8": ("LOWER_BOUND", vae - 0.6), "iw:50": ("LOWER_BOUND", vae)}
        folders.evidence(f"vae/{seed}", rows, seed=seed)
    members = {name: [f"{name}/{seed}" for seed in range(3)] for name in ("made", "vae")}
    statement = elbo_ranking(read_study(folders.study(members)))
    assert statement.outcome == "by the means only"
    assert "nats over 3 seeds) is within error, and so is the one by the ELBO" in statement.sentence


def test_it_is_corrected_for_its_own_tests(folders) -> None:
    """Both rankings of one pair have a two-sided p of .03: alone clear, and not after Holm's correction for two."""
    values = np.linspace(-1, 1, 40)
    unit = values / values.std(ddof=1) * np.sqrt(40)
    base = np.full(40, -500.0)
    folders.config("made")
    folders.evidence("made", {"exact": ("EXACT", base)})
    folders.config("vae", "VAE")
    rows = {"elbo:8": ("LOWER_BOUND", base + unit - 2.25), "iw:50": ("LOWER_BOUND", base + unit + 2.25)}
    folders.evidence("vae", rows)
    found = read_study(folders.study({"made": ["made"], "vae": ["vae"]}))
    assert judge_study(found).verdicts[0].higher == "vae/seed-0"
    assert elbo_ranking(found).outcome == "by the means only"


def test_it_claims_no_more_than_the_verdicts(folders) -> None:
    found = study(folders, bound=0.5, elbo=-1.0)
    silent = replace(judge_study(found), verdicts=())
    assert elbo_ranking(found).outcome == "would have"
    assert elbo_ranking(found, silent).outcome == "by the means only"


def test_seeds_are_read_by_one_estimator(folders) -> None:
    values = -20 - np.random.default_rng(0).gamma(9, 1, 20)
    folders.config("made")
    folders.evidence("made", {"exact": ("EXACT", values)})
    for seed, kinds in enumerate((("iw:50", "elbo:8"), ("elbo:8",))):
        folders.config(f"vae/{seed}", "VAE", seed=seed)
        rows = {kind: ("LOWER_BOUND", values + (5 if kind == "iw:50" else -1)) for kind in kinds}
        folders.evidence(f"vae/{seed}", rows, seed=seed)
        folders.config(f"mixed/{seed}", "VAE", seed=seed)
        folders.evidence(f"mixed/{seed}", {f"elbo:{seed + 1}": ("LOWER_BOUND", values)}, seed=seed)
    members = {name: [f"{name}/0", f"{name}/1"] for name in ("vae", "mixed")}
    readings, left_out, _ = read_members(read_study(folders.study({"made": ["made"], **members})))
    assert [(r.name, r.best_label) for r in readings] == [("made", "exact"), ("vae", "elbo:8, lower bound")]
    assert readings[1].by_best == pytest.approx(np.stack([values - 1] * 2))
    assert left_out == [("mixed", "its runs have no reading with a direction in common")]


def test_a_gap_in_the_values_leaves_a_member_out(folders) -> None:
    study(folders, bound=0.5, elbo=-1.0)
    folders.config("holes")
    holes = np.where(np.arange(100) == 50, np.nan, -30.0)
    folders.evidence("holes", {"exact": ("EXACT", holes)})
    found = read_study(folders.study({"made": ["made"], "vae": ["vae"], "holes": ["holes"]}))
    statement = elbo_ranking(found)
    assert statement.outcome == "would have"
    assert "Left out: holes (not comparable: values are missing from image 50 on, with gaps)." in statement.sentence
    write_report(folders.root)


def test_members_that_are_left_out_for_one_reason_are_named_together(folders) -> None:
    study(folders, bound=0.5, elbo=-1.0)
    short = {f"{name}-{seed}": seed for name in ("one", "other") for seed in (0, 1)}
    for name, seed in short.items():
        folders.config(name, "VAE", seed=seed)
        folders.evidence(name, {f"elbo:{seed + 1}": ("LOWER_BOUND", np.full(100, -30.0))}, seed=seed)
    members = {name: [f"{name}-0", f"{name}-1"] for name in ("one", "other")}
    statement = elbo_ranking(read_study(folders.study({"made": ["made"], "vae": ["vae"], **members})))
    assert statement.sentence.count("Left out") == 1
    assert "Left out: one, other (its runs have no" in statement.sentence


def test_it_takes_two_programs_and_an_elbo(folders) -> None:
    folders.config("made")
    folders.evidence("made", {"exact": ("EXACT", [-1.0, -2.0])})
    assert elbo_ranking(read_study(folders.root / "made")).outcome == "not applicable"
