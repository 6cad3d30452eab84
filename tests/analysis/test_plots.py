"""Figures are drawn without touching global state, and no axis lacks its claim."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis import plots, plots_images, plots_training
from analysis.report import write_report
from analysis.runs import read_study
from analysis.style import MEMBER_COLOURS, as_picture, house_style, member_colours


@pytest.fixture(scope="module")
def study(make_comparison, tmp_path_factory):
    return read_study(make_comparison(tmp_path_factory.mktemp("study"), seeds=2, images=60))


@pytest.fixture(scope="module")
def colours(study) -> dict[str, str]:
    return member_colours([member.name for member in study.members])


def labels_of(figure: Figure) -> str:
    return "\n".join(axes.get_xlabel() + "\n" + axes.get_ylabel() for axes in figure.axes)


def test_forest_has_a_row_per_member_and_estimator(study) -> None:
    figure = plots.evidence_forest(study)
    left, right = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == [
        "made   exact",
        "vae   iw:5000, lower bound",
        "vae   elbo:64, lower bound",
        "independent_pixels   exact",
    ]
    assert left.get_ylim()[0] > left.get_ylim()[1]  # the first row on top
    assert "nats" in left.get_xlabel()
    assert "to made\n(exact;" in right.get_xlabel()


def test_arrows_of_lower_bounds_point_to_higher_values(study) -> None:
    left = plots.evidence_forest(study).axes[0]
    arrows = [text for text in left.texts if text.arrow_patch is not None]
    assert len(arrows) == 2  # one per bound, none for the exact rows
    assert all(arrow.xy[0] > arrow.xyann[0] for arrow in arrows)


def test_forest_plots_the_means(study) -> None:
    evidence = [run.evidence["exact"].nats for run in study.members[0].runs]
    left = plots.evidence_forest(study).axes[0]
    marks = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert np.mean(evidence) in [pytest.approx(mark) for mark in marks]


def test_twenty_members_have_twenty_colours() -> None:
    found = member_colours([str(n) for n in range(20)])
    assert len(set(found.values())) == 20
    assert found["0"] == MEMBER_COLOURS[0]


def test_many_members_have_rows_of_panels_and_a_legend_beside_the_curves(study) -> None:
    """Eighteen cures once stood in eighteen slivers, under a legend that hid their curves."""
    members = [replace(study.members[0], name=f"m{n}") for n in range(9)]
    many = replace(study, members=members)
    figure = plots_training.learning_curves(many, member_colours([member.name for member in members]))
    FigureCanvasAgg(figure).draw()
    upper, *panels = figure.axes
    assert [panel.get_title() for panel in panels] == [*(member.name for member in members), "", "", ""]
    assert panels[0].get_subplotspec().get_gridspec().get_geometry() == (3, 4)
    legend = upper.get_legend().get_window_extent()
    assert legend.x0 >= upper.get_window_extent().x1
    assert legend.x1 <= figure.bbox.x1


def test_gap_carries_both_claims(study, colours) -> None:
    ((title, figure),) = plots.gap_figures(study, colours)
    assert title == "vae, seed 0"
    text = labels_of(figure)
    assert "iw:5000 \N{MINUS SIGN} elbo:64, nats (lower bound \N{MINUS SIGN} lower bound)" in text
    assert "log p(x) by iw:5000, nats (lower bound)" in text
    rows = study.members[1].runs[0].evidence
    points = figure.axes[1].collections[0].get_offsets()
    assert np.allclose(points[:, 1], rows["iw:5000"].nats - rows["elbo:64"].nats)


def test_curves_keep_the_objective_apart(study, colours) -> None:
    figure = plots_training.learning_curves(study, colours)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "made (exact)" in legend
    assert "vae (elbo:1, lower bound)" in legend
    assert not any("autoencoder" in label for label in legend)
    assert all("not reported" in axes.get_ylabel() for axes in figure.axes[1:])
    assert len(figure.axes) == 5


def test_a_single_constant_epoch_is_drawn(folders) -> None:
    folders.config("made")
    folders.history("made", "MADE", epochs=1)
    study = read_study(folders.root / "made")
    with house_style():
        assert as_picture(plots_training.learning_curves(study, {"made": "black"}), "x").content


def test_tiles_lie_in_reading_order() -> None:
    images = np.arange(3.0).reshape(3, 1, 1, 1)
    canvas = plots_images.tile(images, columns=2, fill=-1.0)[..., 0]
    assert canvas.tolist() == [[0, -1, 1], [-1, -1, -1], [2, -1, -1]]


def test_flat_pixels_become_images_by_channel_row_column() -> None:
    import xarray as xr

    attributes = {"channels": 2, "height": 1, "width": 3, "levels": 11}
    images = plots_images.as_images(xr.DataArray([[0, 1, 2, 10, 9, 8]]), attributes)
    assert images.shape == (1, 1, 3, 2)
    assert images[0, 0, :, 0].tolist() == [0, 0.1, 0.2]
    assert images[0, 0, :, 1].tolist() == [1, 0.9, 0.8]


def test_grids_show_members_side_by_side(study) -> None:
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in plots_images.sample_grids(study).axes]
    assert titles[0].startswith("made") or titles[0] == ""
    assert len(plots_images.reconstruction_grids(study).axes) == 2


def test_nothing_to_draw_is_none(folders) -> None:
    folders.config("made")
    study = read_study(folders.root / "made")
    assert plots.evidence_forest(study) is None
    assert plots.gap_figures(study, {"made": "black"}) == []
    assert plots_training.learning_curves(study, {}) is None
    assert plots_images.sample_grids(study) is None
    assert plots_images.reconstruction_grids(study) is None


@pytest.mark.parametrize("both", [False, True])
def test_impossible_images_are_left_out_and_said(folders, both: bool) -> None:
    values = -20 - np.random.default_rng(0).gamma(9, 1, 30)
    impossible = np.where(np.arange(30) == 3, -np.inf, values)
    for seed in (0, 1):
        folders.config(f"made/{seed}", seed=seed)
        folders.evidence(f"made/{seed}", {"exact": ("EXACT", impossible)}, seed=seed)
        folders.config(f"vae/{seed}", "VAE", seed=seed)
        bound = impossible if both else values
        rows = {"elbo:8": ("LOWER_BOUND", impossible - 1), "iw:50": ("LOWER_BOUND", bound)}
        folders.evidence(f"vae/{seed}", rows, seed=seed)
    study = read_study(folders.study({name: [f"{name}/0", f"{name}/1"] for name in ("made", "vae")}))
    figure = plots.evidence_forest(study)
    assert (figure is None) == both
    if not both:
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        said = "\n(mean \N{MINUS SIGN}\N{INFINITY}, not drawn)"
        assert [said in name for name in names] == [True, False, True]
    title, gap = plots.gap_figures(study, {"made": "black", "vae": "black"})[0]
    assert title == "vae, seed 0"
    assert "1 of 30 images at" in gap.axes[0].get_title()
    write_report(folders.root)


def test_drawing_is_deterministic_and_leaves_no_trace(study, colours) -> None:
    before = mpl.rcParams.copy()
    pages = []
    for _ in range(2):
        with house_style():
            pages.append(as_picture(plots.evidence_forest(study), "forest").content)
    assert pages[0] == pages[1]
    assert mpl.rcParams.copy() == before
