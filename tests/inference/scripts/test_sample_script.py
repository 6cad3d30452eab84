"""``inference.sample``: images in a file, a picture of them, and no images from what is no distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.image import imread

from inference import load_run
from ppl_models.recipes import RECIPES


def samples(run) -> xr.Dataset:
    return xr.load_dataset(run / "samples.nc", engine="h5netcdf")


# Recipes that draw all pixels at once, or nothing.
TOGETHER = {"independent_pixels", "autoencoder", "autoencoder_gmm", "discrete_vae", "iwae", "ladder_vae", "linear_vae"}
TOGETHER |= {name for name in RECIPES if name.endswith("vae") and name not in ("pixel_vae", "lossy_vae")}
TOGETHER |= {name for name in RECIPES if name.startswith("vae_")}


@pytest.mark.parametrize(
    ("recipe", "method"), [("made", "fixed-point"), ("vae", "ancestral"), ("independent_pixels", "ancestral")]
)
def test_files(recipe, method, copied, call) -> None:
    run = copied(recipe)
    assert str(run) in call("sample", run, "--num", 7)
    found = samples(run)
    assert found.x.dims == ("sample", "pixel")
    assert found.x.shape == (7, 6)
    assert set(np.unique(found.x)) <= {0, 1}
    expected = {"height": 2, "width": 3, "channels": 1, "levels": 2, "method": method, "seed": 0}
    assert {key: found.attrs[key] for key in expected} == expected
    assert found.attrs["seconds"] > 0
    assert found.attrs["program"] == load_run(run).config["program"]
    assert all(isinstance(value, str | int | float | np.number) for value in found.attrs.values())


def test_the_picture_shows_the_samples(copied, call) -> None:
    """Three in a row, each of its 2x3 pixels four wide, white lines between them."""
    run = copied("made")
    call("sample", run, "--num", 7)
    picture = imread(run / "samples.png")[..., :3]
    assert picture.shape == (4 * (3 * 3 + 1), 4 * (3 * 4 + 1), 3)
    small = picture[2::4, 2::4, 0]
    shown = [small[1 + 3 * (i // 3) : 3 + 3 * (i // 3), 1 + 4 * (i % 3) : 4 + 4 * (i % 3)].ravel() for i in range(7)]
    assert np.array_equal(np.stack(shown), samples(run).x.values)
    assert (small[::3] == 1).all()
    assert (small[:, ::4] == 1).all()


@pytest.mark.parametrize("recipe", ["made", "vae"])
def test_the_seed_decides(recipe, copied, call) -> None:
    run, found = copied(recipe), []
    for number, seed in enumerate((1, 1, 2)):
        torch.manual_seed(number)
        call("sample", run, "--num", 20, "--seed", seed)
        found.append(samples(run).x.values)
        assert samples(run).attrs["sampling_seed"] == seed
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_methods_draw_the_same_images(copied, call) -> None:
    run, found = copied("made"), {}
    for method in ("sequential", "fixed-point", "auto"):
        call("sample", run, "--num", 50, "--method", method)
        found[method] = samples(run).x.values
        assert samples(run).attrs["method"] == ("fixed-point" if method == "auto" else method)
    assert np.array_equal(found["sequential"], found["fixed-point"])
    assert np.array_equal(found["auto"], found["fixed-point"])


def test_blocks_and_batches_draw_the_same_images(copied, call) -> None:
    run, found = copied("made"), []
    for arguments in ("", "--block 2 --method fixed-point", "--batch 7", "--block 4 --batch 3", "--method cached"):
        call("sample", run, "--num", 50, "--quiet", *arguments.split())
        found.append(samples(run).x.values)
    assert all(np.array_equal(found[0], other) for other in found)


def test_block_and_batch_reach_the_sampler(copied, call, monkeypatch) -> None:
    from ppl_models.distributions import Autoregressive

    seen, draw = [], Autoregressive.sample
    monkeypatch.setattr(Autoregressive, "sample", lambda self, *a, **k: seen.append(k) or draw(self, *a, **k))
    run = copied("made")
    call("sample", run, "--block", 3, "--batch", 5, "--quiet")
    call("sample", run)
    assert seen[0] == {"method": "auto", "block": 3, "batch": 5, "progress": False}
    assert seen[1] == {"method": "auto", "block": None, "batch": None, "progress": True}


def test_samples_follow_the_program(copied, call) -> None:
    """Frequencies of all 64 images against the loaded program's own probabilities."""
    run = copied("made")
    call("sample", run, "--num", 4000)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 6)
    with torch.no_grad():
        expected = load_run(run).program.log_prob(every).double().exp().numpy() * 4000
    counts = np.bincount((samples(run).x.values @ 2 ** np.arange(5, -1, -1)).astype(int), minlength=64)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < 63 + 4.5 * np.sqrt(2 * 63)


@pytest.mark.parametrize(
    ("recipe", "arguments", "words"),
    [
        ("made", "--num 0", ["--num", "0", "at least 1"]),
        ("made", "--num -4", ["--num", "-4", "at least 1"]),
        ("made", "--method fastest", ["method", "'fastest'", "fixed-point"]),
        ("vae", "--method sequential", ["--method", "'sequential'", "use auto"]),
        ("made", "--device tpu", ["--device", "'tpu'"]),
        ("made", "--block 0", ["--block 0", "at least 1"]),
        ("made", "--batch -1", ["--batch -1", "at least 1"]),
        ("made", "--block 2 --method cached", ["--block 2", "cached", "add --method fixed-point"]),
        ("vae", "--block 2", ["--block 2", "draws its pixels together", "leave it out"]),
        ("independent_pixels", "--batch 2", ["--batch 2", "draws its pixels together"]),
        ("autoencoder", "", ["sampling", "no distribution over x", "no prior to draw from"]),
        ("autoencoder", "--num 0 --method fastest", ["no distribution over x"]),
    ],
)
def test_refused_and_nothing_written(recipe, arguments, words, copied, expect_refused, untouched) -> None:
    run = copied(recipe)
    with untouched(run):
        expect_refused("sample", [run, *arguments.split()], *words)


@pytest.mark.parametrize("name", sorted(set(RECIPES) - TOGETHER))
@pytest.mark.parametrize("method", ["auto", "sequential", "fixed-point", "cached"])
def test_every_autoregressive_recipe_is_drawn_by_every_method(name, method, copied, call) -> None:
    run = copied(name)
    call("sample", run, "--num", 5, "--method", method, "--quiet")
    found = samples(run)
    assert found.x.shape == (5, 6)
    assert found.attrs["method"] == (method if method != "auto" else found.attrs["method"])
