"""Posterior collapse as analysis sees it: the file, the curves, the words, the plots and the section of the report.

The file is written here from docs/files.md alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from analysis.collapse import collapse_curve, read_collapse
from analysis.collapse_state import State, sentences, state_of
from analysis.errors import InvalidInput
from analysis.plots_collapse import dashboard
from analysis.plots_rate import monitor_curves, rate_distortion
from analysis.report import find, render_report
from analysis.runs import read_study
from analysis.sections import SECTIONS
from analysis.sections_collapse import MOST_DASHBOARDS, collapse_section
from analysis.style import house_style

IMAGES, LATENTS = 40, 4
CLAIMS = {
    "rate": "EXACT", "distortion": "ESTIMATE", "elbo": "LOWER_BOUND", "active_units": "EXACT",
    "active_units_scaled": "EXACT", "num_latents": "EXACT", "information_empirical": "ESTIMATE",
    "information_lower": "LOWER_BOUND", "information_upper": "UPPER_BOUND", "information_cap": "EXACT",
    "marginal_kl": "ESTIMATE", "total_correlation": "ESTIMATE", "marginal_kl_per_latent": "ESTIMATE",
    "split_log_likelihood": "ESTIMATE", "split_information": "ESTIMATE", "split_marginal_kl": "ESTIMATE",
    "split_elbo": "LOWER_BOUND", "lost_shuffled": "ESTIMATE", "lost_prior": "ESTIMATE",
}  # fmt: skip


def write(
    folder: Path, scale: float = 1.0, refused: dict[str, str] | None = None, stderr: float = 0.05, **changes: Any
) -> Path:
    """A run whose dimensions 0 and 1 say ``scale`` nats in the mean, and whose dimensions 2 and 3 are dead."""
    rng, spread = np.random.default_rng(0), np.linspace(0.5, 1.5, IMAGES)
    kl = np.stack([1.2 * scale * spread, 0.8 * scale * spread, 0 * spread, 0 * spread], 1)
    rate, reconstruction = kl.sum(1), -10 - rng.random(IMAGES)
    lower = rate * 0.75
    numbers = {
        "rate": rate.mean(), "distortion": -reconstruction.mean(), "elbo": (reconstruction - rate).mean(),
        "active_units": 2, "active_units_scaled": 2, "num_latents": LATENTS, "information_empirical": lower.mean(),
        "information_lower": lower.mean(), "information_upper": lower.mean() + 0.2, "information_cap": math.log(IMAGES),
        "marginal_kl": rate.mean() * 0.25, "total_correlation": rate.mean() * 0.2,
        "marginal_kl_per_latent": rate.mean() * 0.05, "split_log_likelihood": reconstruction.mean(),
        "split_information": lower.mean(), "split_marginal_kl": rate.mean() * 0.25,
        "split_elbo": (reconstruction - rate).mean(), "lost_shuffled": 3.0 * scale, "lost_prior": 2.5 * scale,
    }  # fmt: skip
    numbers |= {name: changes.pop(name) for name in list(changes) if name in numbers}
    refused = refused or {}
    names = list(numbers)
    dataset = xr.Dataset(
        {
            "value": ("measure", [math.nan if name in refused else float(numbers[name]) for name in names]),
            "stderr": ("measure", [math.nan if name in refused else stderr for name in names]),
            "stderr_monte_carlo": ("measure", np.full(len(names), 0.01)),
            "rate": ("image", rate), "log_likelihood": ("image", reconstruction),
            "elbo": ("image", reconstruction - rate), "log_likelihood_shuffled": ("image", reconstruction - 3 * scale),
            "log_likelihood_prior": ("image", reconstruction - 2.5 * scale), "information_lower": ("image", lower),
            "information_upper": ("image", lower + 0.2), "kl": (("image", "latent"), kl),
            "mean_variance": ("latent", [0.9, 0.6, 0.004, 0.0]), "mean_variance_stderr": ("latent", np.full(4, 0.001)),
            "prior_scale": ("latent", np.ones(4)), "active": ("latent", [1, 1, 0, 0]),
            "active_scaled": ("latent", [1, 1, 0, 0]), "information_latent": ("latent", [0.9, 0.6, 0.0, 0.0]),
            "information_latent_stderr": ("latent", np.full(4, 0.01)),
        },
        coords={
            "measure": names, "claim": ("measure", ["none" if name in refused else CLAIMS[name] for name in names]),
            "meaning": ("measure", [f"meaning of {name}" for name in names]),
            "reason": ("measure", [refused.get(name, "") for name in names]),
            "units": ("measure", ["latents" if "units" in name or name == "num_latents" else "nats" for name in names]),
            "image": np.arange(IMAGES), "latent": [f"z[{place}]" for place in range(LATENTS)],
            "site": ("latent", ["z"] * LATENTS),
        },
        attrs={
            "units": "nats", "measure": "mass", "levels": 2, "program": "VAE", "guide": "DiagonalNormal",
            "data": "digits", "data_digest": "sha256:aaaa", "split": "test", "seed": 0, "num_images": IMAGES,
            "num_draws": 16, "threshold": 0.01, "collapse_seed": 0, "kl_reason": "",
        },
    )  # fmt: skip
    for name, value in changes.items():
        if name in dataset.variables:
            dataset[name] = (dataset[name].dims, np.broadcast_to(value, dataset[name].shape).copy())
        else:
            dataset.attrs[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    dataset.to_netcdf(folder / "collapse.nc", engine="h5netcdf")
    return folder / "collapse.nc"


NO_DENSITY = {
    name: "Stubborn has no density at another image's z"
    for name in CLAIMS
    if name.startswith(("information_e", "information_l", "information_u", "marginal", "total", "split"))
}


def test_the_file_is_read_as_written(tmp_path: Path) -> None:
    found = read_collapse(write(tmp_path))
    assert found["rate"].value == pytest.approx(2.0)
    assert (found["rate"].claim.value, found["rate"].stderr, found["rate"].units) == ("EXACT", 0.05, "nats")
    assert found["information_cap"].value == pytest.approx(math.log(40))
    assert found.kl.shape == (40, 4)
    assert found.active.tolist() == [True, True, False, False]
    assert found["rate"].is_known
    missing = read_collapse(write(tmp_path, refused={"total_correlation": "guide is full"}))["total_correlation"]
    assert not missing.is_known
    assert missing.reason == "guide is full"
    with pytest.raises(InvalidInput, match="measure nothing: was not measured; known: rate, distortion"):
        found["nothing"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units": "bits"}, "units bits: are not nats"),
        ({"claim": "surely"}, "claim surely: is no known claim"),
        ({"value": math.nan}, "rate: claims EXACT and has no value"),
        ({"stderr": -1.0}, "rate: has a negative standard error"),
        ({"refused": {"rate": ""}}, "rate: was refused without a reason"),
        ({"claim": "none", "reason": "no"}, "rate: was refused and still has a value"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict, words: str) -> None:
    units = {"units": changes["units"]} if "units" in changes else {}
    path = write(tmp_path, **{key: value for key, value in changes.items() if key != "units"})
    if units:
        dataset = xr.load_dataset(path, engine="h5netcdf").assign_attrs(units)
        dataset.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InvalidInput, match=words):
        read_collapse(path)


@pytest.mark.parametrize("name", ["kl", "log_likelihood_shuffled", "site", "threshold", "elbo"])
def test_what_is_missing_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    dataset = xr.load_dataset(path, engine="h5netcdf")
    dataset.attrs.pop(name, None)
    (dataset.drop_vars(name) if name in dataset.variables else dataset).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InvalidInput, match=f"{name}: this .* is missing"):
        read_collapse(path)
    without_measure = xr.load_dataset(write(tmp_path), engine="h5netcdf").drop_sel(measure="elbo")
    without_measure.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(InvalidInput, match="elbo: this measure is missing"):
        read_collapse(path)


def test_the_curve_is_the_share_of_dimensions_below_epsilon_on_enough_images(tmp_path: Path) -> None:
    """Dimension 0: 9 of 10 images below .5; dimension 1: all at .2; dimension 2: all 0; dimension 3: all at 3."""
    kl = np.zeros((IMAGES, LATENTS))
    kl[:, 0] = np.where(np.arange(IMAGES) % 10 == 0, 2.0, 0.1)
    kl[:, 1], kl[:, 3] = 0.2, 3.0
    found = read_collapse(write(tmp_path, kl=kl))
    epsilon = np.array([0.0, 0.05, 0.15, 0.2, 0.5, 2.5, 3.0, 4.0])
    assert collapse_curve(found, epsilon, 0.01).tolist() == [0, 0.25, 0.25, 0.25, 0.5, 0.75, 0.75, 1]
    assert collapse_curve(found, epsilon, 0.1).tolist() == [0, 0.25, 0.5, 0.5, 0.75, 0.75, 0.75, 1]
    assert np.isnan(collapse_curve(read_collapse(write(tmp_path, kl=math.nan)), epsilon)).all()


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, State.CARRIES),
        ({"information_lower": 0.59}, State.CARRIES),  # 1.685 * .05 = .084 below it: t of 39 degrees of freedom
        # .583 - 1.645 * .05 is above .5: a normal quantile would not do.
        ({"information_lower": 0.583, "information_upper": 0.7}, State.UNDECIDED),
        ({"information_lower": 0.57, "information_upper": 0.7}, State.UNDECIDED),
        ({"scale": 0.2}, State.COLLAPSED),
        ({"rate": 0.41, "information_lower": 0.3}, State.COLLAPSED),
        ({"rate": 0.43, "information_lower": 0.3, "information_upper": 0.43}, State.UNDECIDED),
        # A guide that ignores x has a rate and no information.
        ({"information_lower": 0.0, "information_upper": 0.1}, State.COLLAPSED),
        ({"refused": NO_DENSITY}, State.UNDECIDED),
        ({"refused": NO_DENSITY, "scale": 0.2}, State.COLLAPSED),
        ({"stderr": math.nan}, State.UNDECIDED),
    ],
)
def test_the_state_is_what_the_limits_allow(tmp_path: Path, changes: dict, state: State) -> None:
    assert state_of(read_collapse(write(tmp_path, **changes))) is state


def test_the_words_say_what_the_numbers_do(tmp_path: Path) -> None:
    lines = sentences(read_collapse(write(tmp_path)))
    assert lines[0] == (
        "The latents carry information: between 1.50 ± 0.05 (lower bound) and 1.70 ± 0.05 (upper bound) nats about an "
        "image, the rate is 2.00 ± 0.05 (exact) nats."
    )
    assert lines[1] == "2 of 4 dimensions are active: Var_x[E_q(z_l | x)] at 0.01 or above. Dead: z[2], z[3]."
    assert lines[2] == "Decoded from another image's z, an image loses 3.00 ± 0.05 nats of log p(x | z) (estimate)."
    assert lines[3] == (
        "KL(q(z) || p(z)) is 0.50 nats (estimate), 25% of the rate; 0.40 of them are dependence between dimensions "
        "(total correlation)."
    )
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"information_lower": 3.0, "information_upper": 4.0}, "The lower bound is 0.69 nats below its cap, ln 40 ="),
        ({"information_upper": 4.0}, "(exact) nats, which bounds the information too."),
        ({"lost_shuffled": 0.01}, "nothing that was found (0.01 ± 0.05 nats, estimate): the decoder does not read z, "),
        ({"scale": 0.1}, "The latents have collapsed: between 0.15"),
        ({"information_lower": 0.55}, "Undecided: no limit at 95% lies clear of 0.5 nats: between 0.55"),
        ({"active_units_scaled": 1}, "and 1 with the threshold on the scale of the prior."),
        ({"refused": NO_DENSITY}, "; the information is not known: Stubborn has no density"),
        ({"refused": {"marginal_kl_per_latent": "the prior does not factorize"}}, "(estimate), 25% of the rate."),
    ],
)
def test_the_words_follow_the_case(tmp_path: Path, changes: dict, words: str) -> None:
    assert words in "\n".join(sentences(read_collapse(write(tmp_path, **changes))))


def heights(axes: Any) -> list[float]:
    return [patch.get_height() for patch in axes.patches]


def test_the_dashboard_draws_the_numbers(tmp_path: Path) -> None:
    found = read_collapse(write(tmp_path, mean_variance=[0.6, 0.9, 0.004, 0.0]))
    with house_style():
        figure = dashboard(found)
    kl, variance, curves, information, split, decoder = figure.axes
    assert heights(kl) == pytest.approx([1.2, 0.8, 0, 0])
    assert [label.get_text() for label in kl.get_xticklabels()] == ["z[0]", "z[1]", "z[2]", "z[3]"]
    assert np.allclose(variance.collections[-1].get_offsets()[:, 1], [0.6, 0.9, 0.004, 0.0001])
    assert curves.lines[0].get_ydata()[0] == pytest.approx(0.5)
    assert [patch.get_width() for patch in information.patches] == pytest.approx([1.5, 0.4, 0.1])
    assert [patch.get_x() for patch in information.patches] == pytest.approx([0, 1.5, 1.9])
    values = heights(split)
    assert values[0] + values[1] + values[2] == pytest.approx(values[3])
    assert values[1:3] == pytest.approx([-1.5, -0.5])
    assert split.patches[2].get_y() == pytest.approx(values[0] + values[1])
    means = [line.get_xdata()[0] for line in decoder.lines if line.get_marker() == "D"]
    assert np.array(means) - means[0] == pytest.approx([0, -3.0, -2.5])
    assert "exact" in kl.get_ylabel()
    assert "lower bound" in split.get_xticklabels()[-1].get_text()


def test_many_dimensions_are_counted_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.plots_collapse._NAMES_SHOWN", 3)
    with house_style():
        figure = dashboard(read_collapse(write(tmp_path)))
    assert figure.axes[0].get_xlabel() == figure.axes[1].get_xlabel() == "4 dimensions of z, sorted"


def test_a_panel_without_numbers_says_why(tmp_path: Path) -> None:
    reason = "site 'z': the prior (ComponentMixture) does not factorize"
    found = read_collapse(write(tmp_path, kl=math.nan, kl_reason=reason, refused=NO_DENSITY))
    with house_style():
        figure = dashboard(found)
    texts = [" ".join(text.get_text() for text in axes.texts).replace("\n", " ") for axes in figure.axes]
    assert reason in texts[0]
    assert reason in texts[2]
    assert "Stubborn has no density" in texts[3]
    assert heights(figure.axes[4])[:2] == pytest.approx([-found["distortion"].value, -2.0])


def test_lines_of_equal_elbo_have_that_sum(tmp_path: Path) -> None:
    points = [(name, read_collapse(write(tmp_path / name, scale=scale))) for name, scale in (("a", 0.1), ("b", 2.0))]
    with house_style():
        axes = rate_distortion(points, {"a": "k", "b": "r"}).axes[0]
    drawn = [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert len(drawn) >= 2
    for line, label in zip(drawn, axes.texts, strict=True):
        sums = np.asarray(line.get_xdata()) + np.asarray(line.get_ydata())
        assert sums == pytest.approx(sums[0])
        assert label.get_text().strip() == f"ELBO \N{MINUS SIGN}{sums[0]:g}"
    marks = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o")
    assert marks == pytest.approx([0.2, 4.0])


@pytest.fixture
def section_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of this section only: the others cost seconds."""
    monkeypatch.setattr("analysis.report.SECTIONS", tuple(s for s in SECTIONS if s.key == "collapse"))


@pytest.fixture
def study(folders, tmp_path: Path) -> Path:
    """Three runs with latents, of which one is measured on other images, and one without."""
    bounds = {"elbo:64": ("LOWER_BOUND", -12.0 - np.arange(40) / 40)}
    for name, options in {"live": {}, "dead": {"scale": 0.05}, "valid": {"split": "valid"}}.items():
        run = folders.run(f"{name}/seed-0", "VAE", bounds)
        write(run, **options)
    lines = (tmp_path / "dead/seed-0/history.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        record |= {"rate": 4.0 / record["epoch"], "rate_claim": "EXACT", "active_units": max(0, 5 - record["epoch"])}
    records[11]["collapse_warning"] = "posterior collapse: after epoch 12. Cures: free bits; see docs/collapse.md"
    (tmp_path / "dead/seed-0/history.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    folders.run("made/seed-0", "MADE", {"exact": ("EXACT", bounds["elbo:64"][1])})
    return folders.study({name: [f"{name}/seed-0"] for name in ("live", "dead", "valid", "made")})


def test_the_section_shows_every_run_and_the_plane_those_on_the_same_images(study: Path, section_alone: None) -> None:
    found = collapse_section(read_study(study))
    assert [(entry.title, entry.state.value) for entry in found.entries] == [
        ("live, seed 0", "carries information"),
        ("dead, seed 0", "collapsed"),
        ("valid, seed 0", "carries information"),
    ]
    assert found.elsewhere == ["valid, seed 0"]
    assert all(entry.picture for entry in found.entries)
    assert found.warned == [("dead, seed 0", "posterior collapse: after epoch 12.")]
    assert found.cures == "free bits; see docs/collapse.md"
    page = render_report(find(read_study(study)))
    for words in ("carries information", "collapsed", "2 of 4", "All measures of live, seed 0", "other images", "12."):
        assert words in page
    assert page.count("<figure>") == 5  # the plane, three dashboards and the training


def test_monitored_runs_are_drawn_epoch_by_epoch(study: Path) -> None:
    with house_style():
        rates, counts = monitor_curves(read_study(study), dict.fromkeys(("live", "dead", "valid", "made"), "k")).axes
    assert rates.lines[0].get_ydata()[:3] == pytest.approx([4, 2, 4 / 3])
    assert rates.lines[0].get_linestyle() == "-"
    assert rates.lines[1].get_xdata() == 12
    assert counts.lines[0].get_ydata()[:6] == pytest.approx([4, 3, 2, 1, 0, 0])


def test_with_many_runs_each_member_shows_its_first(folders, tmp_path: Path) -> None:
    seeds = MOST_DASHBOARDS // 2 + 1
    for name in ("a", "b"):
        for seed in range(seeds):
            write(folders.config(f"{name}/seed-{seed}", "VAE", seed=seed))
    runs = {name: [f"{name}/seed-{seed}" for seed in range(seeds)] for name in ("a", "b")}
    entries = collapse_section(read_study(folders.study(runs))).entries
    assert len(entries) == 2 * seeds
    assert [entry.title for entry in entries if entry.picture] == ["a, seed 0", "b, seed 0"]


def test_a_report_without_measures_says_how_they_are_made(folders, section_alone: None) -> None:
    folders.run("made", "MADE", {"exact": ("EXACT", -12.0 - np.arange(40) / 40)})
    page = render_report(find(read_study(folders.root / "made")))
    assert "python -m inference.evaluate RUN --collapse" in page
    assert "While it trained" not in page
