"""The training loop: one function for every objective, on Lightning Fabric."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.infer.elbo import ELBOModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .data import ImageData
from .history import History
from .loop import Loop
from .monitor import Monitor
from .objectives import PyroElbo
from .steps import StepRule

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger


def fit(
    objective: nn.Module,
    data: ImageData | Tensor,
    optimizer: Optimizer | Callable[[Iterable[nn.Parameter]], Optimizer],
    *,
    valid: Tensor | None = None,
    epochs: int = 100,
    batch_size: int = 100,
    patience: int | None = None,
    max_seconds: float | None = None,
    clip_norm: float | None = None,
    average: float = 0.0,
    scheduler: Callable[[Optimizer], LRScheduler] | None = None,
    monitor: Monitor | None = None,
    step: StepRule | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "32-true",
    folder: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    loggers: Iterable[Logger] = (),
) -> History:
    """Minimise an objective and leave the best weights in its modules.

    After every epoch the monitor (exact log p(x), or the ELBO at beta = 1) is evaluated on the validation images; the
    weights with the highest value are kept, and are those of the program when ``fit`` returns. Without validation
    images the last are. The global random state is left as it was found.

    Args:
        objective: ``forward(x)`` -> 0-dim mean loss per image; an ``Objective``, or Pyro's ``Trace_ELBO()(program,
            guide)``.
        data: a data set, of which the train and valid splits are used, or training images (N, D).
        optimizer: a torch optimizer over ``objective.parameters()``, or a function from parameters to one.
        valid: validation images; a data set brings its own.
        epochs: passes over the data.
        batch_size: images per update; the last batch of an epoch may be smaller.
        patience: epochs without improvement after which to stop; ``None`` never.
        max_seconds: wall time after which no further epoch starts.
        clip_norm: largest norm of the gradient.
        average: decay of the moving average of the weights that is validated and kept; 0 for none.
        scheduler: function from the optimizer to a learning-rate scheduler, stepped once per epoch.
        monitor: what to watch instead.
        step: what a batch does to the weights: ``PlainStep`` unless given, or ``AggressiveEncoder``.
        seed: of shuffling and of the programs' noise.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        precision: Fabric's, for example ``"32-true"`` or ``"bf16-mixed"``.
        folder: where ``checkpoint.pt`` and ``history.jsonl`` are written; nothing is written without.
        resume: continue from the checkpoint in ``folder``; the result equals that of an uninterrupted run.
        progress: show a progress bar.
        loggers: Fabric loggers, for example ``TensorBoardLogger``.

    Raises:
        NonFiniteLossError: naming epoch, batch and site, at the first NaN or infinite loss.
        InvalidInput: for images outside the sample space, a guide that does not fit the program, or a step rule that
            cannot train the pair.
    """
    loop = Loop(_as_objective(objective), optimizer, device, precision, tuple(loggers))
    loop.take_data(data, valid, batch_size)
    loop.prepare(average, scheduler, monitor, clip_norm, seed, folder, step)
    devices = [loop.fabric.device.index or 0] if loop.fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), pyro.validation_enabled(False), warnings.catch_warnings():
        # The loop stops at a loss that is not finite and says where; Pyro's warning would only precede it.
        warnings.filterwarnings("ignore", "Encountered NaN")
        torch.manual_seed(seed)
        if resume:
            loop.restore()
        return loop.run(epochs, patience, max_seconds, progress)


def _as_objective(objective: nn.Module) -> nn.Module:
    """Pyro's ELBO modules return a sum over images: wrap them."""
    if isinstance(objective, ELBOModule):
        return PyroElbo(objective.model, objective.guide, objective.elbo)
    return objective
