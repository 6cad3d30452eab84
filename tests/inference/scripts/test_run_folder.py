"""The output folder: what lies in it already is neither mixed with a run nor lost."""

from __future__ import annotations

import json

import pytest


def test_a_run_is_neither_mixed_nor_lost(copied, expect_refused, untouched, recipes, settings) -> None:
    run = copied("made")
    start = [*recipes["made"], *settings, "--out", run]
    with untouched(run):
        expect_refused("train", start, "--out", str(run), "holds a run already", "--resume", "--overwrite")
        expect_refused("train", [*start, "--learning-rate", "1", "--resume"], "another training", "--overwrite")
        expect_refused("train", [*start, "--seed", "5", "--resume"], "another seed", "--overwrite")
        expect_refused("train", [*start, "--recipe.direct", "false", "--resume"], "another recipe_arguments")
        expect_refused("train", [*recipes["vae"], *settings, "--out", run, "--resume"], "another recipe, ", "guide")
        expect_refused("train", [*start, "--data", "digits", "--resume"], "another data, data_digest")
        expect_refused("train", [*start, "--seeds", "0", "1"], "--out", "runs do not lie in runs")


def test_overwriting_replaces_the_run_whole(copied, call, recipes, settings) -> None:
    run = copied("made")
    call("evaluate", run, "--estimators", "exact", "--quiet")
    call("train", *recipes["vae"], *settings, "--out", run, "--overwrite")
    assert json.loads((run / "config.json").read_text())["recipe"] == "vae"
    assert not (run / "evidence.nc").exists()


@pytest.mark.parametrize(
    "extra",
    ["--recipe.dropout 2", "--learning-rate 0", "--data gone.npz", "--device tpu", "--recipe.ordering x", "--seed -1"],
)
def test_bad_input_with_overwrite_removes_nothing(extra, copied, expect_refused, untouched, recipes, settings) -> None:
    run = copied("made")
    with untouched(run):
        expect_refused("train", [*recipes["made"], *settings, "--out", run, "--overwrite", *extra.split()])


def test_a_damaged_run_can_be_overwritten(copied, call, recipes, settings) -> None:
    run = copied("made")
    (run / "config.json").write_text('{"format": 1, "rec')
    call("train", *recipes["made"], *settings, "--out", run, "--overwrite")
    assert json.loads((run / "config.json").read_text())["recipe"] == "made"


@pytest.mark.parametrize("flag", [[], ["--resume"], ["--overwrite"]])
@pytest.mark.parametrize("file", ["thesis.txt", "config.json"])
def test_a_folder_of_something_else_is_left_alone(
    flag, file, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    """A ``config.json`` is not enough: other programs write such files too."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / file).write_text('{"name": "my project"}')
    with untouched(folder):
        expect_refused("train", [*recipes["made"], *settings, "--out", folder, *flag], str(folder))
        expect_refused("study", ["compare", "--data", settings[1], "--out", folder, *flag], "--out", str(folder))


def test_files_in_the_way(expect_refused, untouched, recipes, settings, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with untouched(tmp_path):
        for path in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
            expect_refused(
                "train", [*recipes["made"], *settings, "--out", path], "--out", str(path), "is a file", "folder"
            )
            expect_refused("study", ["compare", "--data", settings[1], "--out", path], "--out", str(path), "is a file")


def test_where_the_system_does_not_let_us_write(expect_refused, recipes, settings) -> None:
    expect_refused("train", [*recipes["made"], *settings, "--out", "/proc/nowhere/x"], "--out", "cannot be written")


def test_an_empty_folder_is_as_good_as_none(call, recipes, settings, tmp_path) -> None:
    (tmp_path / "x").mkdir()
    call("train", *recipes["independent_pixels"], *settings, "--out", tmp_path / "x")
    assert (tmp_path / "x" / "checkpoint.pt").is_file()


def test_seeds_are_all_checked_before_the_first_is_trained(
    call, expect_refused, untouched, recipes, settings, tmp_path
) -> None:
    start = [*recipes["made"], *settings, "--out", tmp_path / "x", "--seeds"]
    call("train", *start, 2)
    with untouched(tmp_path):
        expect_refused("train", [*start, "0", "1", "2"], "--out", "seed-2", "holds a run already")
    call("train", *start, 0, 1, 2, "--resume")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["seed-0", "seed-1", "seed-2"]
