"""The scripts as a user meets them: processes with an exit code, one line on standard error and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"inference.{arguments[0]}", *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


# name -> script, arguments with {run} for a run folder and {out} for a new one, what the line says
BAD = {
    "recipe": ("train --recipe vaee --out {out}", ["--recipe 'vaee'", "did you mean vae"]),
    "guide": ("train --recipe vae --guide {guide}:G --out {out}", ["guide", "guide G", "event shape"]),
    "autoencoder": ("evaluate {autoencoder} --estimators exact", ["exact", "no distribution over x"]),
    "checkpoint": ("evaluate {corrupt} --estimators exact", ["checkpoint", "corrupt"]),
    "sampling": ("sample {autoencoder}", ["sampling", "no distribution over x"]),
    "foreign": ("study compare --out {elsewhere}", ["--out", "holds no such study"]),
}


@pytest.fixture(scope="module")
def results(runs, tmp_path_factory):
    """All of them, two processes at a time."""
    import shutil

    folder = tmp_path_factory.mktemp("scripts")
    for name in ("made", "autoencoder"):
        shutil.copytree(runs / name, folder / name)
    shutil.copytree(runs / "made", folder / "corrupt")
    (folder / "corrupt" / "checkpoint.pt").write_bytes(b"garbage")
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "thesis.txt").write_text("x")
    (folder / "guide.py").write_text(
        "from pyro.distributions import Normal\nfrom ppl_models.guides import Guide\n"
        "class G(Guide):\n def posterior(self, x): return Normal(x[..., :1].expand(-1, self.latent_dim), 1.)\n"
    )
    names = {path.stem: str(path) for path in folder.iterdir()} | {"out": str(folder / "out")}
    files = sorted(str(path) for path in folder.rglob("*"))
    commands = {name: written.format(**names).split() for name, (written, _) in BAD.items()}
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(commands, pool.map(run, commands.values()), strict=True))
    assert sorted(str(path) for path in folder.rglob("*") if "__pycache__" not in str(path)) == files
    return found


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(name, results) -> None:
    found = results[name]
    assert found.returncode == 2
    assert found.stdout == ""
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("error: ")
    for word in BAD[name][1]:
        assert word in lines[0]


def test_a_newcomers_first_commands(tmp_path) -> None:
    """Train, evaluate and sample on the bundled digits, each a process of its own."""
    out = str(tmp_path / "made")
    for arguments in (
        ["train", "--recipe", "made", "--recipe.hidden", "[16]", "--epochs", "1", "--out", out],
        ["evaluate", out, "--estimators", "exact"],
        ["sample", out, "--num", "4"],
    ):
        found = run(arguments)
        assert found.returncode == 0, found.stderr
        assert "Traceback" not in found.stderr
        assert "Warning" not in found.stderr
        assert "made" in found.stdout
