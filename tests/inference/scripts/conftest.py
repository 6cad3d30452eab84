"""Tiny runs of every kind, each trained once, and what a refusal must look like.

Six binary pixels have 64 images: what a script writes can be held against enumeration.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from inference import evaluate, posterior, sample, study, train
from ppl_models.errors import InvalidInput, NotADensityError

Main = Callable[[Sequence[str]], None]
MODULES = (train, evaluate, posterior, sample, study)
SCRIPTS: dict[str, Main] = {module.__name__.split(".")[-1]: module.main for module in MODULES}
RECIPES = {
    "fvsbn": ["--recipe", "fvsbn"],
    "nade": ["--recipe", "nade", "--recipe.hidden", "[8]"],
    "order_mixture": ["--recipe", "order_mixture", "--recipe.hidden", "[8]", "--recipe.num_components", "3"],
    "pixel_rnn": ["--recipe", "pixel_rnn", "--recipe.hidden", "5"],
    "pixel_cnn": ["--recipe", "pixel_cnn", "--recipe.channels", "4", "--recipe.depth", "1"],
    "gated_pixel_cnn": ["--recipe", "gated_pixel_cnn", "--recipe.channels", "4", "--recipe.depth", "2"],
    "pixel_transformer": ["--recipe", "pixel_transformer", "--recipe.width", "8", "--recipe.depth", "1"],
    "made": ["--recipe", "made", "--recipe.hidden", "[8]", "--recipe.ordering", "shifted:2"],
    "vae": ["--recipe", "vae", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "iwae": [
        "--recipe",
        "iwae",
        "--recipe.hidden",
        "[8]",
        "--recipe.latent_dim",
        "2",
        "--objective",
        "iwae",
        "--objective.num_particles",
        "3",
    ],
    "vae_iaf": ["--recipe", "vae_iaf", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "vae_vamp": [
        "--recipe",
        "vae_vamp",
        "--recipe.hidden",
        "[8]",
        "--recipe.latent_dim",
        "2",
        "--recipe.prior",
        "vamp:3",
    ],
    "vae_flow_prior": ["--recipe", "vae_flow_prior", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "skip_vae": ["--recipe", "skip_vae", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "conv_vae": ["--recipe", "conv_vae", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "recurrent_vae": ["--recipe", "recurrent_vae", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "discrete_vae": ["--recipe", "discrete_vae", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "pixel_vae": [
        "--recipe",
        "pixel_vae",
        "--recipe.hidden",
        "[8]",
        "--recipe.latent_dim",
        "2",
        "--recipe.channels",
        "4",
    ],
    "lossy_vae": [
        "--recipe",
        "lossy_vae",
        "--recipe.hidden",
        "[8]",
        "--recipe.latent_dim",
        "2",
        "--recipe.channels",
        "4",
    ],
    "ladder_vae": ["--recipe", "ladder_vae", "--recipe.hidden", "[8,8]", "--recipe.latent_dim", "[3,2]"],
    "linear_vae": ["--recipe", "linear_vae", "--recipe.latent_dim", "2"],
    "autoencoder_gmm": ["--recipe", "autoencoder_gmm", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "autoencoder": ["--recipe", "autoencoder", "--recipe.hidden", "[8]", "--recipe.latent_dim", "2"],
    "independent_pixels": ["--recipe", "independent_pixels"],
}


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """Three splits of six binary pixels that are far from independent, as 1x2x3 images."""
    rng = np.random.default_rng(0)
    x = (rng.random((62, 6)) < 0.4).astype(np.uint8)
    x[:, 3:] = x[:, :3] ^ (rng.random((62, 3)) < 0.1)
    return {"train": x[:40], "valid": x[40:50], "test": x[50:], "shape": np.array([1, 2, 3])}


@pytest.fixture(scope="session")
def tiny(arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These splits as an ``.npz``."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def settings(tiny: Path) -> list[str]:
    """Options of a training that takes a moment."""
    return ["--data", str(tiny), "--epochs", "2", "--batch-size", "15", "--quiet", "--device", "cpu"]


@pytest.fixture(scope="session")
def call() -> Callable[..., str]:
    """``call(script, *arguments)`` in this process; gives what it prints."""

    def run(script: str, *arguments: object) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            SCRIPTS[script]([str(argument) for argument in arguments])
        return printed.getvalue()

    return run


@pytest.fixture(scope="session")
def recipes() -> dict[str, list[str]]:
    """The options that name each recipe."""
    return RECIPES


@pytest.fixture(scope="session")
def runs(settings: list[str], call: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of every recipe; not to be written to."""
    folder = tmp_path_factory.mktemp("runs")
    for name, recipe in RECIPES.items():
        call("train", *recipe, *settings, "--out", folder / name)
    return folder


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``copied(recipe)``: a run of its own for a test."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(runs / name, tmp_path / name, dirs_exist_ok=True))

    return copy


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its bytes and the time it was written."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def untouched() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    """``with untouched(folder)``: nothing in it may come, go or change, and it may not come into being."""

    @contextlib.contextmanager
    def watch(folder: Path) -> Iterator[None]:
        was_there, before = folder.exists(), contents(folder)
        yield
        assert folder.exists() == was_there
        assert contents(folder) == before

    return watch


@pytest.fixture
def expect_refused() -> Callable[..., str]:
    """``expect_refused(script, arguments, *words)``: refused in one line that holds these words; gives the line."""

    def run(script: str, arguments: Sequence[object], *words: str) -> str:
        with pytest.raises((InvalidInput, NotADensityError)) as caught:
            SCRIPTS[script]([str(argument) for argument in arguments])
        line = str(caught.value)
        assert "\n" not in line
        assert len(line) < 600
        assert "<class" not in line
        for word in words:
            assert word in line, line
        return line

    return run
