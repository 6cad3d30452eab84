"""Scoring many images stays within memory, whatever their number."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from ppl_models.recipes import build
torch.set_num_threads(1)
program = build(sys.argv[1], {"data_dim": 784, "levels": 2, "shape": (1, 28, 28)})[0].eval()
with torch.no_grad():
    assert program.log_prob(torch.zeros(int(sys.argv[2]), 784)).shape == (int(sys.argv[2]),)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["nade", "pixel_rnn", "pixel_cnn", "gated_pixel_cnn", "pixel_transformer"])
def test_ten_thousand_images_of_28x28_are_scored_within_2_gb(recipe: str) -> None:
    command = [sys.executable, "-c", SCRIPT, recipe, "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = float(done.stdout)
    print(f"{recipe}: {peak:.0f} MB")
    assert peak < 2048
