"""The README's code runs and its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from inference.data import image_data
from inference.jobs import Job
from inference.run import load_run
from inference.train import train
from inference.training import Training
from inference.user_guides import find_guide

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks_of(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


BLOCKS = blocks_of(README)
PAGES = [(name, block) for name in ("autoregressive",) for block in blocks_of((ROOT / f"docs/{name}.md").read_text())]
COMMANDS = re.findall(r"^python -m ([\w.]+) (.*)$", README, flags=re.MULTILINE)


def block_with(text: str) -> str:
    (found,) = [block for block in BLOCKS if text in block]
    return found


def test_the_twenty_lines_print_three_numbers_with_their_claims(capsys: pytest.CaptureFixture) -> None:
    code = block_with("Exact()(made, x)").replace("epochs=40", "epochs=1, progress=False").replace("=1000)", "=20)")
    assert len([line for line in code.splitlines() if line.strip()]) <= 24
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.findall(r"\(([A-Z_]+)\)", printed) == ["EXACT", "LOWER_BOUND", "LOWER_BOUND"]
    assert "at least" in printed


def test_the_guide_of_the_readme_trains_and_its_weights_move(tmp_path: Path) -> None:
    path = tmp_path / "my_guide.py"
    path.write_text(block_with("# my_guide.py"))
    guide = find_guide(f"{path}:FullCovariance")
    import numpy as np

    bits = np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8)
    data = image_data("tiny", {"train": bits, "valid": bits[:10], "test": bits[:10]})
    settings = Training(epochs=2, batch_size=10)
    job = Job("vae", data, tmp_path / "run", recipe_arguments={"latent_dim": 2}, guide_class=guide, training=settings)
    train(job, progress=False)
    assert load_run(job.out, guide).guide.below.abs().sum() > 0


@pytest.mark.slow
def test_the_arviz_walk_through_runs_on_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = [sys.executable, "-m", "inference.study", "compare", "--data", "digits", "--out", tmp_path / "runs/compare"]
    subprocess.run(study, check=True, cwd=ROOT)
    monkeypatch.chdir(tmp_path)
    exec(compile(block_with("open_tree"), "README.md", "exec"), {})
    assert (tmp_path / "runs/forest.png").stat().st_size > 1000


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_every_option_in_the_readme_exists(module: str, arguments: str) -> None:
    known = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert known.returncode == 0
    for option in re.findall(r"--([a-z][a-z-]*)(?![\w.])", arguments.replace("--recipe.", "").replace("--guide.", "")):
        assert f"--{option}" in known.stdout


@pytest.mark.parametrize(("page", "code"), PAGES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(PAGES)])
def test_the_code_of_the_pages_runs(page: str, code: str, capsys: pytest.CaptureFixture) -> None:
    exec(compile(code, f"docs/{page}.md", "exec"), {})
    assert "EXACT" in capsys.readouterr().out or "complete(" not in code
