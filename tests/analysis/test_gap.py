"""The split of a gap read out: hand-made files whose parts are known, and what may be said of two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.errors import InvalidInput
from analysis.gap import read_gap
from analysis.gap_verdicts import ANNEALING, SEARCH, Contestant, judge_gaps
from analysis.plots_gap import bars_figure
from analysis.report import find, main, render_report
from analysis.runs import read_study
from analysis.sections_gap import gap_findings, gap_lines

N = 40
NOISE = np.random.default_rng(1).normal(0, 0.1, N)
EXACT = ("exact (EXACT)", "exact (EXACT)")
ANNEALED = ("ais:100 (LOWER_BOUND)", "")
WEIGHTED = ("iw:5000 (LOWER_BOUND)", "")


def split(
    family: float, encoder: float, sources=EXACT, closed: float | None = None, images=None, **attrs
) -> xr.Dataset:  # fmt: skip
    """A file whose family leaves ``family`` nats and whose encoder loses ``encoder``, up to noise that is paired."""
    n = N if images is None else len(images)
    log_evidence = np.linspace(-30, -10, n)
    best = log_evidence - family - NOISE[:n]
    elbo = best - encoder - NOISE[:n] / 2
    nan = np.full(n, np.nan)
    columns = {
        "elbo": elbo, "best_elbo": best, "log_evidence_lower": log_evidence if sources[0] else nan,
        "log_evidence_upper": log_evidence if sources[1] else nan,
    }  # fmt: skip
    columns["gap_lower"], columns["gap_upper"] = (columns[f"log_evidence_{s}"] - elbo for s in ("lower", "upper"))
    columns["amortization_gap_lower"] = best - elbo
    columns["approximation_gap_upper"] = columns["log_evidence_upper"] - best
    columns["approximation_gap_if_converged"] = columns["log_evidence_lower"] - best
    data = {name: ("image", values) for name, values in columns.items()}
    data |= {f"{name}_stderr": ("image", np.where(np.isnan(v), np.nan, 0.02)) for name, v in columns.items()}
    data["elbo_of_candidate"] = (("candidate", "image"), np.stack([elbo, best, best - 0.25]))
    data["chosen"] = ("image", np.arange(n) % 2)
    coords = {"image": np.arange(n) if images is None else images, "candidate": ["guide as trained", "encoder", "p"]}
    known = {} if closed is None else {"approximation_gap_closed_form": closed}
    base = {
        "units": "nats", "measure": "mass", "levels": 2, "program": "VAE", "guide": "DiagonalNormal",
        "data": "digits", "data_digest": "sha256:aaaa", "split": "test", "seed": 0,
        "lower_source": sources[0], "upper_source": sources[1],
    }  # fmt: skip
    return xr.Dataset(data, coords, base | known | attrs)


@pytest.fixture
def write(tmp_path):
    """``write(dataset)``: the path of a file."""

    def to(dataset: xr.Dataset, name: str = "gap.nc") -> Path:
        dataset.to_netcdf(tmp_path / name, engine="h5netcdf")
        return tmp_path / name

    return to


@pytest.fixture
def member(write):
    """``member(name, annealed=..., **parts)``: a contestant with one split."""

    def make(name: str, *parts: object, annealed: bool = True, **options: object) -> Contestant:
        return Contestant(name, (read_gap(write(split(*parts, **options), f"{name}.nc")),), annealed)

    return make


def verdict(quantity: str, *contestants: Contestant):
    return next(v for v in judge_gaps(contestants) if v.quantity == quantity)


def test_what_was_written_is_read(write) -> None:
    found = read_gap(write(split(0.5, 1.0, closed=0.4)))
    assert np.allclose(found["approximation_gap_upper"], 0.5 + NOISE)
    assert np.allclose(found["amortization_gap_lower"], 1.0 + NOISE / 2)
    assert (found.closed_form, found.guide) == (0.4, "DiagonalNormal")
    assert (found.is_two_sided, found.is_annealed) == (True, False)
    assert np.allclose(found.spread_of_starts, 0.25)  # the guide as trained is no start
    found = read_gap(write(split(0.5, 1.0, ANNEALED)))
    assert (found.is_two_sided, found.is_annealed, np.isnan(found.closed_form)) == (False, True, True)


def broken(change):
    dataset = split(0.5, 1.0)
    change(dataset)
    return dataset


def set_value(name, value):
    def change(dataset):
        dataset[name].values[(1,) * dataset[name].ndim] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.attrs.pop("lower_source"), ["lower_source", "missing"]),
        (lambda d: d.attrs.update(units="bits"), ["units bits", "nats"]),
        (lambda d: d.attrs.update(upper_source=""), ["log_evidence_upper", "names no estimator"]),
        (set_value("log_evidence_lower", np.nan), ["log_evidence_lower", "has no values"]),
        (set_value("gap_lower", 3.0), ["gap_lower", "is not log_evidence_lower - elbo"]),
        (set_value("approximation_gap_upper", 3.0), ["approximation_gap_upper", "log_evidence_upper - best_elbo"]),
        (set_value("elbo", np.nan), ["elbo", "not finite"]),
        (set_value("chosen", 3), ["chosen", "outside 0..2"]),
        (set_value("best_elbo_stderr", -0.1), ["best_elbo_stderr", "negative"]),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(change, words, write) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_gap(write(broken(change)))
    for word in [*words, "gap.nc"]:
        assert word in str(caught.value)


def test_exact_evidence_establishes_whose_whole_gap_is_smaller(member) -> None:
    found = verdict("whole", member("a", 0.5, 1.0), member("b", 0.2, 0.9))
    assert (found.word, found.smaller, found.assumptions) == ("established", "b", ())
    assert found.result.mean == pytest.approx(0.4)
    assert "b has a smaller gap of its ELBO than a: established, by at least 0.400" in found.sentence


def test_a_familys_gap_is_known_from_above_only_so_that_a_smaller_one_is_indicated(member) -> None:
    found = verdict("family", member("a", 0.5, 1.0), member("b", 0.2, 2.0))
    assert (found.word, found.smaller, found.assumptions) == ("indicated", "b", (SEARCH,))
    assert SEARCH in found.sentence


def test_theory_establishes_it(member) -> None:
    """a's family leaves 0.5 by theory, b's at most 0.2 by what was found."""
    found = verdict("family", member("a", 0.5, 1.0, closed=0.5), member("b", 0.2, 2.0))
    assert (found.word, found.smaller) == ("established", "b")
    assert found.result.mean == pytest.approx(0.3 - NOISE.mean(), abs=1e-9)
    # Theory says 0.1, whatever was found: then nothing follows against a's 0.2.
    other = verdict("family", member("a", 0.5, 1.0, closed=0.1), member("b", 0.2, 2.0))
    assert (other.word, other.smaller) == ("undecided", None)


def test_an_encoders_gap_is_at_most_the_whole_gap(member) -> None:
    a, b = member("a", 0.5, 1.0), member("b", 0.2, 0.1)
    found = verdict("encoder", a, b)
    assert (found.word, found.smaller) == ("established", "b")  # at least 1.0 against at most 0.3
    assert found.result.mean == pytest.approx(0.7, abs=0.05)
    found = verdict("encoder", a, member("b", 0.6, 0.8))  # at most 1.4: the search must be believed
    assert (found.word, found.smaller, found.assumptions) == ("indicated", "b", (SEARCH,))


def test_what_annealing_may_indicate(member) -> None:
    pair = member("a", 0.5, 1.0, ANNEALED), member("b", 0.2, 0.9, ANNEALED)
    found = verdict("whole", *pair)
    assert (found.word, found.smaller, found.assumptions) == ("indicated", "b", (ANNEALING,))
    assert verdict("family", *pair).assumptions == (SEARCH, ANNEALING)
    refuted = pair[0], member("b", 0.2, 0.9, ANNEALED, annealed=False)
    assert verdict("whole", *refuted).word == "undecided"
    assert verdict("family", *refuted).word == "undecided"
    assert verdict("encoder", *refuted).smaller == "b"  # log p(x) is not in it


def test_importance_weights_say_nothing_from_above(member) -> None:
    pair = member("a", 0.5, 1.0, WEIGHTED, annealed=False), member("b", 0.1, 0.1, WEIGHTED, annealed=False)
    for quantity in ("whole", "family"):
        found = verdict(quantity, *pair)
        assert (found.word, found.result) == ("undecided", None)
        assert "ais:1000" in found.sentence


def test_nothing_is_said_within_noise_or_of_few_images(member) -> None:
    assert verdict("whole", member("a", 0.5, 1.0), member("b", 0.5, 1.0)).word == "undecided"
    few = [member(name, 0.1 * k, 1.0, images=range(5)) for k, name in enumerate("ab", 1)]
    found = verdict("whole", *few)
    assert found.word == "undecided"
    assert "10 images" in found.sentence


def test_the_number_of_comparisons_is_corrected_for(member, write) -> None:
    """A difference at 3.2 standard errors: significant among 6 tests, not among the 126 of seven members."""
    noise = np.random.default_rng(5).normal(size=N)
    shift = (noise - noise.mean()) / noise.std(ddof=1) + 3.2 / np.sqrt(N)
    better = split(1.5, 2.0)
    for name, sign in {"elbo": 1, "gap_lower": -1, "gap_upper": -1, "amortization_gap_lower": -1}.items():
        better[name].values[:] += sign * shift
    best = Contestant("best", (read_gap(write(better)),), True)
    others = [member(f"m{number}", 1.5, 2.0) for number in range(6)]
    found = [verdict("whole", best, *group) for group in (others[:1], others)]
    assert [each.word for each in found] == ["established", "undecided"]
    assert found[0].p_adjusted < 0.05 < found[1].p_adjusted


def test_other_programs_data_or_images_are_not_compared(member) -> None:
    a = member("a", 0.5, 1.0)
    others = [
        member("b", 0.2, 0.9, program="LinearVAE"), member("c", 0.2, 0.9, data_digest="sha256:bbbb"),
        member("d", 0.2, 0.9, split="valid"), member("e", 0.2, 0.9, measure="density"),
        member("f", 0.2, 0.9, images=range(1, N + 1)), member("g", 0.2, 0.9, images=range(N - 1)),
    ]  # fmt: skip
    for other in others:
        assert judge_gaps([a, other]) == []
    assert len(judge_gaps([a, member("h", 0.2, 0.9)])) == 3


def study(folders, parts, sources=EXACT):
    """Members of two seeds each, the second seed 0.2 nats worse in its encoder."""
    members = {}
    for name, (family, encoder) in parts.items():
        members[name] = [f"{name}/seed-{seed}" for seed in (0, 1)]
        for seed in (0, 1):
            nats = np.linspace(-30, -10, N)
            folders.run(f"{name}/seed-{seed}", "VAE", {"iw:5000": ("LOWER_BOUND", nats)}, seed=seed, stderr=0.03)
            made = split(family, encoder + 0.2 * seed, sources, seed=seed)
            made.to_netcdf(folders.root / f"{name}/seed-{seed}" / "gap.nc", engine="h5netcdf")
    return folders.study(members)


def test_the_table_is_over_images_of_means_over_seeds(folders) -> None:
    found = gap_findings(read_study(study(folders, {"plain": (0.5, 1.0), "wide": (0.2, 0.9)})))
    row = found.rows[0]
    assert (row.member, row.guide, row.program, row.seeds, row.images) == ("plain", "DiagonalNormal", "VAE", 2, N)
    mean, stderr = row.means["amortization_gap_lower"]
    assert mean == pytest.approx(1.1 + NOISE.mean() / 2)
    assert stderr == pytest.approx((NOISE / 2).std(ddof=1) / np.sqrt(N))
    assert row.means["approximation_gap_upper"][0] == pytest.approx(0.5 + NOISE.mean())
    assert (row.spread, row.kept) == (pytest.approx(0.25), 0.5)
    assert row.monte_carlo == pytest.approx(0.02 / np.sqrt(2 * N))
    assert not found.left_out


def test_seeds_over_different_images_are_left_out(folders) -> None:
    root = study(folders, {"plain": (0.5, 1.0), "wide": (0.2, 0.9)})
    split(0.5, 1.0, images=range(N - 1)).to_netcdf(root / "plain/seed-1/gap.nc", engine="h5netcdf")
    found = gap_findings(read_study(root))
    assert [row.member for row in found.rows] == ["wide"]
    assert "plain" in found.left_out[0]


def test_the_page_and_the_terminal_say_the_same(folders, capsys) -> None:
    root = study(folders, {"plain": (0.5, 1.0), "wide": (0.2, 0.9)})
    lines = gap_lines(read_study(root))
    assert lines[0].startswith("gap: wide has a smaller gap of its ELBO than plain: established")
    page = render_report(find(read_study(root)))
    for text in ("1.100", "1.600", "The gap of the ELBO: the family", "wide has a smaller gap of its ELBO than plain"):
        assert text in page, text
    assert main([str(root)]) == 0
    assert lines[0] in capsys.readouterr().out


def test_what_is_not_known_is_not_printed_as_a_number(folders) -> None:
    root = study(folders, {"plain": (0.5, 1.0), "wide": (0.2, 0.9)}, WEIGHTED)
    page = render_report(find(read_study(root)))
    section = page[page.index('<section id="gap_split"') :]
    section = section[: section.index("</section>")]
    assert section.count("not known") == 4  # the whole gap and the family's, at most, of two members
    assert "nothing" in section


def test_a_bar_ends_at_the_whole_gap(member) -> None:
    figure = bars_figure([member("a", 0.5, 1.0), member("b", 0.2, 0.9, WEIGHTED)])
    ends = [patch.get_x() + patch.get_width() for patch in figure.axes[0].patches]
    whole = [1.5 + 1.5 * NOISE.mean(), 1.1 + 1.5 * NOISE.mean()]
    assert ends[1::2] == pytest.approx(whole)
    assert ends[0] == pytest.approx(1.0 + NOISE.mean() / 2)
