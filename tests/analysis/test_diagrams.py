"""Programs drawn from their traced structure."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, FancyArrowPatch

from analysis import diagrams, diagrams_generation, diagrams_layers, layer_stacks
from analysis.runs import read_study
from analysis.style import house_style

FIGURES = (diagrams.graph_figure, diagrams_layers.layer_figure, diagrams_generation.generation_figure)


@pytest.fixture(scope="module")
def traced(make_comparison, tmp_path_factory):
    study = read_study(make_comparison(tmp_path_factory.mktemp("study"), seeds=1, images=10))
    return diagrams.traced_programs(study)[:3]


@pytest.fixture
def programs(traced):
    """Copies: a test may change what was traced. The hand-written baseline has MADE's structure: it is left out."""
    return [replace(program, names=program.names[:1]) for program in copy.deepcopy(traced)]


def test_members_of_one_structure_are_drawn_once(traced, programs) -> None:
    assert [program.names for program in traced] == [("made", "independent_pixels"), ("vae",), ("autoencoder",)]
    assert traced[0].title == "made, independent_pixels"
    four = replace(programs[1], names=("plain", "warm_up", "free_bits", "skip"))
    assert four.title == "plain, warm_up\nand 2 more"
    linear, _ = layer_stacks.shared_parts([four, programs[2]])
    assert linear == "linear layers: each of plain, warm_up, free_bits, skip: 4, autoencoder 4"


@pytest.mark.parametrize("draw", FIGURES)
def test_four_panels_stand_in_a_row(draw, programs) -> None:
    """Nine columns on one page would leave no room to read any."""
    axes = draw([programs[1]] * 9).axes
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (3, 4)
    assert [bool(panel.get_title()) for panel in axes] == [True] * 9 + [False] * 3


def patches(axes, kind: type) -> list:
    return [patch for patch in axes.patches if type(patch) is kind]


def test_plate_notation(programs) -> None:
    made, vae, autoencoder = diagrams.graph_figure(programs).axes
    arrows = patches(vae, FancyArrowPatch)
    assert sorted(arrow.get_linestyle() for arrow in arrows) == ["-", "--"]  # one generates, one infers
    z, x = sorted(patches(vae, Circle), key=lambda circle: -circle.center[1])
    assert x.get_facecolor() != z.get_facecolor()
    assert any("image = 1..N" in text.get_text() for text in vae.texts)
    assert len(patches(made, Circle)) == 4  # three pixels of the chain and the last
    assert len(patches(made, FancyArrowPatch)) == 6  # from every earlier to every later one
    assert patches(autoencoder, Circle) == []
    assert not any("1..N" in text.get_text() for text in autoencoder.texts)


def test_the_chain_follows_the_ordering(programs) -> None:
    made = copy.deepcopy(programs[0])
    made.structure["generation"]["ordering"] = [*range(5, 64), *range(5)]
    axes = diagrams.graph_figure([made]).axes[0]
    labels = [text.get_text() for text in axes.texts if text.get_text().startswith("$x")]
    assert labels == ["$x_{5}$", "$x_{6}$", "$x_{7}$", "$x_{4}$"]


def test_time_of_each_pixel_is_the_inverse_of_the_sequence(programs) -> None:
    made = copy.deepcopy(programs[0])
    made.structure["generation"]["ordering"] = [*range(5, 64), *range(5)]
    axes = diagrams_generation.generation_figure([made]).axes[0]
    times = axes.images[0].get_array().ravel()
    assert times[5] == 0
    assert times[4] == 63
    assert times[0] == 59


def test_any_directed_graph_of_sites(programs) -> None:
    ladder = copy.deepcopy(programs[1])
    site = {"distribution": "Normal", "shape": [4], "plates": ["image"], "observed": False}
    ladder.structure["program"]["sites"] = [
        site | {"name": "z2", "parents": []},
        site | {"name": "z1", "parents": ["z2"]},
        site | {"name": "x", "parents": ["z1", "z2"], "observed": True},
    ]
    guide_sites = [site | {"name": "z1", "parents": []}, site | {"name": "z2", "parents": ["z1"]}]
    ladder.structure["guide"]["sites"] = guide_sites
    axes = diagrams.graph_figure([ladder]).axes[0]
    arrows = [arrow.get_linestyle() for arrow in patches(axes, FancyArrowPatch)]
    assert sorted(arrows) == ["-", "-", "-", "--", "--"]


def test_layers_of_one_family_lie_on_one_line(programs) -> None:
    stacks = [layer_stacks.stack_of(program) for program in programs]
    rows = layer_stacks.align(stacks)
    made, vae, autoencoder = rows
    assert vae == autoencoder == list(range(9))
    assert made[0] == 0
    assert made[-1] == 8
    assert made == sorted(set(made))
    families = {row: box.family for row, box in zip(vae, stacks[1], strict=True)}
    assert all(families[row] == box.family for row, box in zip(made, stacks[0], strict=True))


def table(path, *shape):
    size = math.prod(shape)
    return {"path": path, "type": "Parameter", "input": [], "output": list(shape), "parameters": size}


def test_tables_stand_under_the_stack(programs) -> None:
    """Nothing passes through them: they are no boxes, on no line, and no layers that programs share."""
    plain = [layer_stacks.stack_of(program) for program in programs]
    shared = layer_stacks.shared_parts(programs)
    vae = programs[1]
    vae.structure["program"]["layers"].append(table("prior.means", 8, 16))
    vae.structure["guide"]["layers"].append(table("log_sigma"))
    assert layer_stacks.tables_of(vae) == ["prior.means 8\N{MULTIPLICATION SIGN}16", "log_sigma"]
    assert [layer_stacks.stack_of(program) for program in programs] == plain
    assert layer_stacks.shared_parts(programs) == shared
    texts = [[text.get_text() for text in axes.texts] for axes in diagrams_layers.layer_figure(programs).axes]
    assert "+ prior.means 8\N{MULTIPLICATION SIGN}16" in texts[1]
    assert not any(text.startswith("+") for text in [*texts[0], *texts[2]])


def test_many_tables_are_counted(programs) -> None:
    programs[1].structure["program"]["layers"] += [table(f"t{n}", 2) for n in range(5)]
    texts = [text.get_text() for text in diagrams_layers.layer_figure([programs[1]]).axes[0].texts]
    assert [text for text in texts if text.startswith("+")] == ["+ t0 2", "+ t1 2", "+ 3 more tables"]


def test_an_encoder_in_the_program_stands_above_the_code(programs) -> None:
    """An autoencoder that became a density: its guide runs the program's encoder and has no layers."""
    vae = programs[1]
    encoder, vae.structure["guide"]["layers"] = vae.structure["guide"]["layers"], []
    parts = [box.part for box in layer_stacks.stack_of(vae)]
    for layer in encoder:
        layer["path"] = f"autoencoder.{layer['path']}"
    vae.structure["program"]["layers"] = [*encoder, *vae.structure["program"]["layers"]]
    assert [box.part for box in layer_stacks.stack_of(vae)] == ["input", *["encoder"] * len(encoder), *parts[1:]]


def test_more_layers_than_rows_make_more_rows(programs) -> None:
    deep = copy.deepcopy(programs[0])
    deep.structure["program"]["layers"] *= 5
    rows = layer_stacks.align([layer_stacks.stack_of(p) for p in (deep, programs[1])])
    assert rows[0] == list(range(17))
    assert rows[1][-1] == 16


def test_a_direct_link_runs_beside_the_chain(programs) -> None:
    made = copy.deepcopy(programs[0])
    link = {"path": "net.direct", "type": "MaskedLinear", "input": [64], "output": [64], "parameters": 4096}
    made.structure["program"]["layers"].append(link)
    assert [box.part for box in layer_stacks.stack_of(made)] == ["input", "chain", "chain", "chain", "output"]
    axes = diagrams_layers.layer_figure([made]).axes[0]
    assert [text.get_text() for text in axes.texts if "direct" in text.get_text()] == ["MaskedLinear 64→64, direct"]


def test_shared_parts_are_counted(programs) -> None:
    linear, activation = layer_stacks.shared_parts(programs)
    assert linear == "linear layers: made 2 (2 masked), vae 4, autoencoder 4"
    assert activation == "activation layers: made 1, vae 2, autoencoder 2"


def test_how_each_samples(programs) -> None:
    made, vae, autoencoder = (diagrams_generation.how_it_samples(program) for program in programs)
    assert "64 passes" in made
    assert "decode once" in vae
    assert "no distribution to sample from" in autoencoder


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("count", [1, 3])
def test_no_text_overlaps_another(programs, draw, count: int) -> None:
    with house_style():
        figure = draw(programs[:count])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [text for axes in figure.axes for text in (*axes.texts, axes.title)]
        texts += figure.legends[0].get_texts() if figure.legends else []
        texts = [text for text in texts if text.get_text().strip()]
        boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in texts]
    for number, (text, box) in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 + 1
        assert box.x1 <= figure.bbox.x1 + 1
        for other, place in boxes[number + 1 :]:
            overlap = box.x0 < place.x1 and place.x0 < box.x1 and box.y0 < place.y1 and place.y0 < box.y1
            assert not overlap, f"{text!r} lies on {other!r}"
