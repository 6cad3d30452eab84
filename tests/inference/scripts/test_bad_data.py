"""Data that cannot be used is refused by every script that loads them, before anything is written."""

from __future__ import annotations

import json

import numpy as np
import pytest


def with_nan(arrays, split="train", value=np.nan):
    damaged = arrays[split].astype(float)
    damaged[3, 2] = value
    return {**arrays, split: damaged}


DAMAGE = {
    "nan": (with_nan, ["'train'", "NaN"]),
    "infinity in test": (lambda a: with_nan(a, "test", np.inf), ["'test'", "infinity"]),
    "wrong D": (lambda a: {**a, "test": a["test"][:, :5]}, ["'test'", "5", "6"]),
    "other shape": (lambda a: {**a, "shape": np.array([1, 2, 2])}, ["6 values", "not 4"]),
    "empty": (lambda a: {**a, "valid": a["valid"][:0]}, ["'valid'", "too small"]),
    "one image": (lambda a: {**a, "train": a["train"][:1]}, ["'train'", "too small"]),
    "no keys": (lambda a: {"train": a["train"]}, ["no key valid, test"]),
    "halves": (lambda a: {**a, "train": a["train"] / 2}, ["'train'", "not whole"]),
    "negative": (lambda a: {**a, "train": a["train"].astype(int) - 1}, ["'train'", "-1"]),
    "beyond levels": (lambda a: {**a, "train": a["train"] * 5, "levels": np.array(3)}, ["'train'", "0..2"]),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("script", ["train", "study", "evaluate"])
def test_damaged_data(script, damage, arrays, expect_refused, untouched, recipes, settings, copied, tmp_path) -> None:
    change, words = DAMAGE[damage]
    path = tmp_path / "damaged.npz"
    np.savez(path, **change(arrays))
    arguments = {
        "train": [*recipes["made"], *settings, "--out", tmp_path / "x"],
        "study": ["compare", "--out", tmp_path / "x"],
        "evaluate": [copied("made"), "--estimators", "exact"],
    }[script]
    with untouched(tmp_path):
        expect_refused(script, [*arguments, "--data", path], "--data", str(path), *words)


def test_a_truncated_file(tiny, expect_refused, untouched, recipes, settings, tmp_path) -> None:
    path = tmp_path / "cut.npz"
    path.write_bytes(tiny.read_bytes()[:300])
    with untouched(tmp_path):
        arguments = [*recipes["made"], *settings, "--data", path, "--out", tmp_path / "x"]
        expect_refused("train", arguments, "--data", str(path), "cut off")


def test_more_levels_than_the_program_has(arrays, expect_refused, untouched, copied, tmp_path) -> None:
    """A binary program is never asked about grey images: they are not the data of its training."""
    np.savez(tmp_path / "grey.npz", **{**arrays, "levels": np.array(17)})
    run = copied("made")
    with untouched(tmp_path):
        expect_refused("evaluate", [run, "--estimators", "exact", "--data", tmp_path / "grey.npz"], "--data", "digest")


def test_the_program_itself_refuses_grey_images(runs) -> None:
    import torch

    from inference import load_run
    from inference.estimators import Elbo, Exact
    from ppl_models.errors import InvalidInput

    made, vae = load_run(runs / "made"), load_run(runs / "vae")
    for bad, word in ((5.0, "5.0"), (0.5, "0.5"), (-1.0, "-1.0"), (float("nan"), "NaN"), (float("inf"), "infinity")):
        x = torch.zeros(2, 6)
        x[1, 4] = bad
        for estimator, run in ((Exact(), made), (Elbo(vae.guide, 3), vae)):
            with pytest.raises(InvalidInput, match=word):
                estimator(run.program, x)
    for shape in ((2, 5), (6,), (2, 2, 3)):
        with pytest.raises(InvalidInput, match="6 pixels"):
            Exact()(made.program, torch.zeros(shape))


def test_data_that_were_moved(expect_refused, untouched, call, copied, tiny, tmp_path) -> None:
    run = copied("made")
    config = json.loads((run / "config.json").read_text())
    config["data"] = "gone.npz"
    (run / "config.json").write_text(json.dumps(config))
    with untouched(tmp_path):
        expect_refused("evaluate", [run, "--estimators", "exact"], "--data", "'gone.npz'", "does not exist")
    call("evaluate", run, "--estimators", "exact", "--data", tiny, "--quiet")
    assert (run / "evidence.nc").is_file()
