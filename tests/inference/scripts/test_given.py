"""``inference.sample --given``: missing pixels in a file that says what may be said of them, and a picture."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.image import imread

from inference import image_files, load_run

X = np.array([[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 1, 1], [0, 0, 1, 0, 1, 1]], dtype=float)
# made generates 2, 3, 4, 5, 0, 1 (shifted:2): the first mask leaves a suffix to draw, the second does not.
OBSERVED = np.array([[0, 0, 1, 1, 1, 1], [1, 1, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1]], dtype=bool)
GIVEN = np.where(OBSERVED, X, np.nan)


def written(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def given(tmp_path) -> Path:
    return written(tmp_path / "given.npz", x=GIVEN, observed=OBSERVED)


def completions(run: Path) -> xr.Dataset:
    return xr.load_dataset(run / "completions.nc", engine="h5netcdf")


def test_files(copied, call, given) -> None:
    run = copied("made")
    printed = call("sample", run, "--given", given, "--num", 5, "--particles", 40, "--seed", 3)
    found = completions(run)
    assert dict(found.sizes) == {"image": 3, "draw": 5, "pixel": 6}
    assert found.x.dims == ("image", "draw", "pixel")
    drawn = found.x.values
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn == X[:, None])[np.broadcast_to(OBSERVED[:, None], drawn.shape)].all()
    assert np.array_equal(found.observed, OBSERVED)
    assert np.array_equal(found.given, GIVEN, equal_nan=True)
    assert found.claim.values.tolist() == ["EXACT", "ESTIMATE", "EXACT"]
    assert found.reason.values[1] == "sequential Monte Carlo with 40 particles"
    for name in ("ess", "ess_final", "lineages"):
        assert np.isnan(found[name].values).tolist() == [True, False, True]
        assert 1 <= found[name].values[1] <= 40
    expected = {"height": 2, "width": 3, "channels": 1, "levels": 2, "method": "auto", "seed": 0, "sampling_seed": 3}
    assert {key: found.attrs[key] for key in expected} == expected
    assert (found.attrs["particles"], found.attrs["units"]) == (40, "nats")
    assert all(isinstance(value, str | int | float | np.number) for value in found.attrs.values())
    assert printed.count("\n") == 1
    for words in (str(run), "3 images x 5 completions", "EXACT (2), ESTIMATE (1)", f"{float(found.ess[1]):.1f} of 40"):
        assert words in printed
    assert sorted(path.name for path in run.iterdir() if "tmp" in path.name) == []


def test_exact_evidence_is_that_of_the_program(copied, call, given) -> None:
    """Summed over all images of the loaded program."""
    run = copied("made")
    call("sample", run, "--given", given)
    states = torch.tensor(list(product((0.0, 1.0), repeat=6)))
    with torch.no_grad():
        joint = load_run(run).program.log_prob(states).double().exp().numpy()
    for row in (0, 2):
        agrees = (states.numpy()[:, OBSERVED[row]] == X[row, OBSERVED[row]]).all(1)
        assert float(completions(run).log_evidence[row]) == pytest.approx(np.log(joint[agrees].sum()), abs=1e-4)
    assert dict(completions(run).sizes)["draw"] == 8


def test_the_picture_shows_given_and_drawn_pixels(copied, call, given) -> None:
    """A row per image: what was given, a margin, the completions; each pixel four wide."""
    run = copied("made")
    call("sample", run, "--given", given, "--num", 2)
    picture = imread(run / "completions.png")[..., :3]
    assert picture.shape == (4 * (3 * 3 + 1), 4 * (3 * 4 + 1 + 3), 3)
    small = picture[2::4, 2::4]
    for row in range(3):
        tile = small[1 + 3 * row : 3 + 3 * row]
        shown = tile[:, 1:4].reshape(6, 3)
        assert np.array_equal(shown[OBSERVED[row]], np.repeat(X[row, OBSERVED[row], None], 3, 1))
        missing = shown[~OBSERVED[row]]
        assert np.allclose(missing, image_files.MISSING, atol=0.01)
        assert np.ptp(missing, axis=-1).min(initial=1) > 0.1, "a grey would pass for a grey level"
        for draw in range(2):
            left = 8 + 4 * draw
            assert np.array_equal(tile[:, left : left + 3, 0].ravel(), completions(run).x.values[row, draw])
    assert (small[:, 4:8] == 1).all()


def test_an_order_agnostic_run_is_exact_everywhere(settings, call, given, tmp_path) -> None:
    run = tmp_path / "orders"
    call("train", "--recipe", "made", "--recipe.hidden", "[8]", "--recipe.cycle", "orders", *settings, "--out", run)
    assert "claim EXACT (3) in" in call("sample", run, "--given", given)
    assert completions(run).reason.values[0] == "exact under the ordering that generates the given pixels first"
    call("sample", run, "--given", given, "--method", "smc")
    assert completions(run).claim.values.tolist() == ["ESTIMATE", "ESTIMATE", "EXACT"]


@pytest.mark.parametrize("shape", [(3, 6), (3, 2, 3), (3, 1, 2, 3)])
@pytest.mark.parametrize("kind", [bool, np.uint8, float])
def test_shapes_and_types_of_the_arrays(shape, kind, copied, call, given, tmp_path) -> None:
    run = copied("made")
    call("sample", run, "--given", given)
    expected = completions(run).x.values
    other = written(tmp_path / "other.npz", x=GIVEN.reshape(shape), observed=OBSERVED.reshape(shape).astype(kind))
    call("sample", run, "--given", other)
    assert np.array_equal(completions(run).x.values, expected)
    for mask in (OBSERVED[1], OBSERVED[1].reshape(shape[1:])):
        one = written(tmp_path / "one.npz", x=X.reshape(shape), observed=mask.astype(kind))
        call("sample", run, "--given", one)
        assert np.array_equal(completions(run).observed.values, np.stack([OBSERVED[1]] * 3))
        assert np.array_equal(completions(run).given, np.where(OBSERVED[1], X, np.nan), equal_nan=True)


def test_every_seed_of_a_run(copied, call, given, tmp_path) -> None:
    for seed in (0, 1):
        shutil.copytree(copied("made"), tmp_path / "both" / f"seed-{seed}")
    assert call("sample", tmp_path / "both", "--given", given).count("completions.nc") == 2
    assert (tmp_path / "both" / "seed-1" / "completions.png").exists()


def test_the_bar_can_be_silenced(copied, call, given, capsys) -> None:
    run = copied("made")
    call("sample", run, "--given", given, "--quiet")
    call("sample", run, "--quiet")
    assert capsys.readouterr().err == ""
    call("sample", run, "--given", given)
    assert "step" in capsys.readouterr().err


def test_batches_change_nothing(copied, call, given) -> None:
    run, found = copied("made"), []
    for batch in (1, 100000):
        call("sample", run, "--given", given, "--batch", batch, "--particles", 30)
        found.append(completions(run))
    for name in ("x", "log_evidence", "ess", "lineages"):
        assert np.allclose(found[0][name], found[1][name], atol=1e-3, equal_nan=True)


NUMBERS = {"x": GIVEN, "observed": OBSERVED}
BAD_FILES = {
    "no mask": ({"x": GIVEN}, ["has no array observed", "it has x"]),
    "no images": ({"observed": OBSERVED}, ["has no array x"]),
    "width": ({"x": GIVEN[:, :4], "observed": OBSERVED[:, :4]}, ["x has shape (3, 4)", "6 pixels"]),
    "flat": ({"x": GIVEN[0], "observed": OBSERVED[0]}, ["x has shape (6,)"]),
    "empty": ({"x": GIVEN[:0], "observed": OBSERVED[:0]}, ["x has shape (0, 6)"]),
    "mask shape": ({**NUMBERS, "observed": OBSERVED[:2]}, ["observed has shape (2, 6)", "x (3, 6)"]),
    "mask values": ({**NUMBERS, "observed": OBSERVED * 0.5}, ["observed holds 0.5", "neither 0 nor 1"]),
    "mask nan": ({**NUMBERS, "observed": np.where(OBSERVED, 1, np.nan)}, ["observed holds nan"]),
    "text": ({**NUMBERS, "x": GIVEN.astype(str)}, ["not numbers"]),
    "objects": ({**NUMBERS, "x": GIVEN.astype(object)}, ["--given"]),
    "half": ({**NUMBERS, "x": GIVEN / 2}, ["x 0.5", "0..1"]),
    "grey": ({**NUMBERS, "x": GIVEN * 16}, ["x 16.0", "binarize"]),
    "missing is given": ({"x": GIVEN, "observed": np.ones(6)}, ["NaN"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_wrong_file_is_refused_and_nothing_written(name, copied, expect_refused, untouched, tmp_path) -> None:
    arrays, words = BAD_FILES[name]
    run, file = copied("made"), written(tmp_path / "bad.npz", **arrays)
    with untouched(run):
        expect_refused("sample", [run, "--given", file], *words)


@pytest.mark.parametrize("content", [None, b"", b"garbage", "cut off", "damaged"])
def test_an_unreadable_file_is_refused(content, copied, expect_refused, untouched, given, tmp_path) -> None:
    file = tmp_path / "unreadable.npz"
    whole = bytearray(given.read_bytes())
    if content == "cut off":
        file.write_bytes(whole[: len(whole) // 2])
    elif content == "damaged":
        place = whole.index(b"NUMPY") + 140  # among the pixels of x
        whole[place] ^= 0xFF
        file.write_bytes(whole)
    elif content is not None:
        file.write_bytes(content)
    run = copied("made")
    with untouched(run):
        expect_refused("sample", [run, "--given", file], "--given", "unreadable.npz", "give an .npz")


@pytest.mark.parametrize(
    ("recipe", "arguments", "words"),
    [
        ("made", "--num 0", ["--num 0", "at least 1"]),
        ("made", "--particles 0", ["--particles 0", "at least 1"]),
        ("made", "--batch 0", ["--batch 0", "at least 1"]),
        ("made", "--method cached", ["--method 'cached'", "does not apply to --given", "auto"]),
        ("made", "--method exact", ["method 'exact'", "image 1", "no suffix"]),
        ("made", "--block 4", ["--block 4", "does not apply to --given"]),
        ("vae", "", ["program 'VAE'", "latents", "use an autoregressive program"]),
        ("independent_pixels", "", ["IndependentPixels", "not Autoregressive"]),
        ("autoencoder", "", ["in-painting", "no distribution over x"]),
    ],
)
def test_what_does_not_apply_is_refused(recipe, arguments, words, copied, expect_refused, untouched, given) -> None:
    run = copied(recipe)
    with untouched(run):
        expect_refused("sample", [run, "--given", given, *arguments.split()], *words)


@pytest.mark.parametrize("arguments", ["--particles 10", "--method smc"])
def test_options_of_completions_need_images(arguments, copied, expect_refused, untouched) -> None:
    run = copied("made")
    with untouched(run):
        expect_refused("sample", [run, *arguments.split()], *arguments.split()[1:])


@pytest.mark.parametrize("arguments", [[], ["--given"]])
def test_a_failure_while_writing_leaves_the_old_files(arguments, copied, call, given, untouched, monkeypatch) -> None:
    """The picture fails after the netCDF file was written."""
    run, arguments = copied("made"), [*arguments, *([given] if arguments else [])]
    call("sample", run, *arguments, "--seed", 1)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(image_files, "imsave", full)
    with untouched(run), pytest.raises(OSError, match="no space"):
        call("sample", run, *arguments, "--seed", 2)
