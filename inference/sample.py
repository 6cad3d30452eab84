"""Generate images from a run's program.

python -m inference.sample runs/made --num 64
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from ppl_models.autoencoder import NotADensity
from ppl_models.distributions import Autoregressive
from ppl_models.errors import InvalidInput
from ppl_models.program import TractableProgram

from .cli import parse, run_script
from .device import resolve_device
from .estimators import evaluation_mode
from .image_files import write_samples
from .randomness import keyed_noise
from .run import Run, load_run, runs_in


def generate(
    program: nn.Module, num: int, *, method: str = "auto", seed: int = 0, device: str = "cpu"
) -> tuple[Tensor, str]:
    """Images (num, D) drawn from the program, and the method that drew them.

    Raises:
        NotADensityError: for the deterministic autoencoder: it has no distribution to draw from.
        InvalidInput: for num < 1, or a sampler the program does not have.
    """
    if isinstance(program, NotADensity):
        program.refuse("sampling")
    if num < 1:
        raise InvalidInput("--num", num, "must be at least 1", "give a number of images")
    with evaluation_mode(program), keyed_noise(seed, "sample", device=device):
        distribution = program.distribution() if isinstance(program, TractableProgram) else None
        if isinstance(distribution, Autoregressive):
            used = distribution.sampler(method)
            return distribution.sample(torch.Size((num,)), method=used), used
        if method not in ("auto", "ancestral"):
            raise InvalidInput(
                "--method",
                method,
                f"{type(program).__name__} draws its pixels together",
                "use auto",
            )
        return program(size=num), "ancestral"


def sample(run: Run, num: int, *, method: str = "auto", seed: int = 0, device: str = "cpu") -> Tensor:
    """Generate images and write ``samples.nc`` and ``samples.png`` into the run folder."""
    start = time.monotonic()
    images, used = generate(run.program, num, method=method, seed=seed, device=device)
    attrs = {"method": used, "seconds": time.monotonic() - start, "sampling_seed": seed}
    write_samples(run.path, images, run.config, attrs)
    return images


def parser() -> ArgumentParser:
    """The options of this script."""
    p = ArgumentParser(prog="python -m inference.sample", exit_on_error=False, allow_abbrev=False, description=__doc__)
    p.add_argument("run", help="a run folder, or one that holds seed-S folders")
    p.add_argument("--num", type=int, default=64)
    p.add_argument(
        "--method",
        default="auto",
        help="auto, sequential or fixed-point for autoregressive programs",
    )
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="auto")
    return p


def main(argv: Sequence[str]) -> None:
    """Sample what the command line asks for."""
    options: Any = parse(parser(), argv)
    device = resolve_device(options.device)
    for folder in runs_in(options.run):
        run = load_run(folder, device=device, program_only=True)
        start = time.monotonic()
        sample(run, options.num, method=options.method, seed=options.seed, device=device)
        print(f"{folder}/samples.nc and samples.png: {options.num} images in {time.monotonic() - start:.2f} s")


if __name__ == "__main__":
    run_script(main)
    sys.exit(0)
