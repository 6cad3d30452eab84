"""The sections about the guide: entries from files, their pictures, and what a report says without them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from analysis.calibration import read_calibration
from analysis.errors import InvalidInput
from analysis.plots_calibration import calibration_figure
from analysis.plots_posterior import intervals_figure, most_different, pair_figure
from analysis.posterior import compare, read_posterior
from analysis.report import write_report
from analysis.runs import read_study
from analysis.sections_guide import calibrations, posteriors, weight_tails
from tests.analysis.guide_files import planted, write_calibration, write_posterior

FAULT, CALM = "#c1662f", "#8a8f99"


@pytest.fixture(scope="module")
def posterior_path(tmp_path_factory):
    values = planted(np.random.default_rng(0))
    values["diverging"][1, 3, 1] = 1
    return write_posterior(tmp_path_factory.mktemp("run"), **values)


@pytest.fixture(scope="module")
def found(posterior_path):
    posterior = read_posterior(posterior_path)
    return posterior, compare(posterior)


def test_curves_are_ranks_minus_uniform_and_faults_stand_out(tmp_path) -> None:
    calibration = read_calibration(write_calibration(tmp_path))
    latents, joint, intervals = calibration_figure(calibration, "vae").axes
    curves = [line for line in latents.lines if len(line.get_xdata()) == 19]
    assert [to_hex(line.get_color()) for line in curves] == [FAULT, CALM]
    expected = np.array([(calibration.ranks[0] < i).mean() - i / 20 for i in range(1, 20)])
    assert curves[0].get_ydata() == pytest.approx(expected)
    assert expected[:9].max() > 0.05  # an overconfident latent's curve rises first
    assert [text.get_text() for text in latents.texts] == ["z[0]"]
    assert joint.get_title() == "log p(x, z)"
    assert [label.get_text() for label in intervals.get_xticklabels()] == ["50%", "80%", "90%"]
    dots = [line for line in intervals.lines if line.get_marker() == "o"]
    assert len(dots) == 6  # two latents at three levels; log p(x, z) is no latent
    assert dots[0].get_ydata()[0] == pytest.approx(calibration.coverage[0, 0])


def test_the_band_is_drawn_where_it_lies(tmp_path) -> None:
    calibration = read_calibration(write_calibration(tmp_path))
    (band,) = calibration_figure(calibration, "vae").axes[0].collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx((calibration.upper / 200 - calibration.points).max())
    assert heights.min() == pytest.approx((calibration.lower / 200 - calibration.points).min())


def test_intervals_of_both_samples_per_latent(found) -> None:
    posterior, table = found
    left, right = intervals_figure(posterior, table, 7).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["z[0]", "z[1]", "z[2]", "w[0]"]
    nuts, guide = (collection.get_segments() for collection in left.collections)
    width = [segment[1][0] - segment[0][0] for segment in guide]
    assert width[0] / (nuts[0][1][0] - nuts[0][0][0]) == pytest.approx(0.5, rel=0.1)
    dots = next(line for line in right.lines if line.get_marker() == "o")
    row = table.sel(image=7)
    assert dots.get_xdata() == pytest.approx((row.wasserstein / row.sd).values)
    doubted = intervals_figure(posterior, table, 9)
    assert all(label.get_text().endswith(" *") for label in doubted.axes[0].get_yticklabels())
    assert "not to be believed" in doubted.legends[0].get_texts()[-1].get_text()


def test_pairs_show_both_samples_and_mark_divergences(found) -> None:
    posterior, table = found
    assert most_different(table, 7, 2)[0] == "z[2]"
    figure = pair_figure(posterior, 9, ["z[0]", "w[0]"])
    lower = figure.axes[2]
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("z[0]", "w[0]")
    assert len(lower.collections) == 2
    (marks,) = lower.lines
    drawn = posterior.draws.sel(image=9).isel(chain=1, draw=3)
    assert marks.get_xydata()[0] == pytest.approx([float(drawn.sel(latent="z[0]")), float(drawn.sel(latent="w[0]"))])
    assert len(marks.get_xydata()) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["NUTS", "guide", "1 divergent"]


@pytest.mark.parametrize(
    ("image", "latents", "words"),
    [
        (8, ["z[0]", "z[1]"], "image 8: is not in the file; choose among 7, 9"),
        (7, ["z[0]", "y[0]"], "is no latent of the file"),
        (7, ["z[0]", "z[1]", "z[2]", "w[0]", "z[0]"], "shows 1 to 4 latents"),
    ],
)
def test_pairs_that_are_not_there(found, image: int, latents: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("[", r"\[")):
        pair_figure(found[0], image, latents)


@pytest.fixture
def study(folders, posterior_path):
    rng = np.random.default_rng(1)
    folders.run("vae/seed-0", "VAE", {"iw:50": ("LOWER_BOUND", rng.normal(-20, 1, 40))}, stderr=0.1)
    write_calibration(folders.root / "vae/seed-0")
    (folders.root / "vae/seed-0/posterior.nc").write_bytes(posterior_path.read_bytes())
    return folders.study({"vae": ["vae/seed-0"]})


def test_entries_are_those_of_the_files(study) -> None:
    read = read_study(study)
    (entry,) = calibrations(read)
    assert entry.title == "vae, seed 0"
    assert entry.sentences[0] == "DiagonalNormal for VAE: 2 of 3 quantities are not calibrated."
    (chains,) = posteriors(read)
    assert (chains.num_chains, chains.num_draws, len(chains.pictures), chains.hidden) == (4, 500, 2, 0)
    assert [verdict.divergences for verdict in chains.verdicts] == [0, 1]
    table = compare(read_posterior(study / "vae/seed-0/posterior.nc"))
    assert [image for image, _ in chains.numbers] == [7, 9]
    third = chains.numbers[0][1][2]
    assert third["latent"] == "z[2]"
    for name in ("mean", "guide_sd", "wasserstein", "r_hat", "ess_tail"):
        assert third[name] == float(table[name].sel(image=7, latent="z[2]"))
    (tail,) = weight_tails(read)
    k = read.members[0].runs[0].evidence["iw:50"].pareto_k
    assert (tail.estimator, tail.num_images) == ("iw:50", 40)
    assert tail.median_k == pytest.approx(np.median(k))
    assert tail.share_high_k == pytest.approx(np.mean(k > 0.7))


def test_the_report_says_it(study) -> None:
    write_report(study)
    page = (study / "report.html").read_text()
    calibration = page.split('id="calibration"')[1].split("</section>")[0]
    assert "2 of 3 quantities are not calibrated" in calibration
    assert "upper bound" in calibration
    assert "2.000" in calibration  # eubo above the ELBO
    nuts = page.split('id="posterior"')[1].split("</section>")[0]
    assert "the guide is narrower on 1, wider on 1, off in the mean on 1 of 4 latents" in nuts
    assert "Image 9: 1 divergent transition" in nuts
    cells = [row.split("<td")[1:] for row in nuts.split("<tbody>")[1].split("<tr>")[1:]]
    assert [len(row) for row in cells] == [11] * 8  # two images of four latents


def test_without_the_files_the_report_names_the_commands(folders) -> None:
    folders.run("vae", "VAE", {"elbo:8": ("LOWER_BOUND", [-20.0, -21.0, -19.0])}, stderr=0.1)
    root = folders.study({"vae": ["vae"]})
    write_report(root)
    page = (root / "report.html").read_text()
    assert "python -m inference.posterior RUN --images 0 1 2" in page
    assert "python -m inference.evaluate RUN --estimators elbo:64 --sbc" in page
