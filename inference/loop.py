"""The state of a training run and what happens in an epoch; ``fit`` is the way in."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import tqdm

from ppl_models.errors import InvalidInput

from .averaging import WeightAverage
from .checkpoint import load_checkpoint, save_checkpoint
from .collapse_monitor import collapse_monitor
from .data import ImageData
from .history import History, HistoryFile, summary
from .monitor import Monitor, default_monitor
from .objectives import NegativeLogLikelihood, Objective
from .objectives.replay import frozen
from .rehearsal import NonFiniteLossError, locate_non_finite, rehearse
from .steps import PlainStep, StepRule

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger

SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Loop:
    """The state of a training run between epochs."""

    def __init__(
        self,
        objective: nn.Module,
        optimizer: Any,
        device: str,
        precision: str,
        loggers: tuple[Logger, ...],
    ) -> None:
        from lightning_fabric import Fabric  # takes a second or two, which scripts that train nothing need not wait

        self.objective = objective
        raw = optimizer if isinstance(optimizer, Optimizer) else optimizer(objective.parameters())
        self.fabric = Fabric(accelerator=device, devices=1, precision=precision, loggers=list(loggers))
        self.module, self.optimizer = self.fabric.setup(objective, raw)
        self.raw_optimizer = raw
        known = isinstance(objective, Objective)
        self.program = objective.program if known else None
        self.guide = objective.guide if known else None

    def take_data(self, data: ImageData | Tensor, valid: Tensor | None, batch_size: int) -> None:
        """Put the images on the device, once."""
        if isinstance(data, Tensor):
            train = data
        else:
            train, valid = data.split("train"), data.split("valid") if valid is None else valid
        if batch_size < 1:
            raise InvalidInput("batch_size", batch_size, "an update needs images", "give at least 1")
        self.train, self.batch_size = train.to(self.fabric.device), batch_size
        self.valid = None if valid is None else valid.to(self.fabric.device)
        if self.program is not None:
            for images in (self.train, self.valid):
                if images is not None:
                    self.program.check(images)
            rehearse(self.program, self.guide, self.train)

    def prepare(
        self,
        average: float,
        scheduler: Callable[[Optimizer], LRScheduler] | None,
        monitor: Monitor | None,
        clip_norm: float | None,
        seed: int,
        folder: Path | None,
        step: StepRule | None = None,
    ) -> None:
        """Set up what an epoch needs besides the data."""
        if not 0 <= average < 1:
            raise InvalidInput("average", average, "a decay lies in [0, 1)", "give for example 0.999")
        if monitor is None and self.valid is not None and self.program is not None:
            # A guide that is trained beside an exact likelihood is not what that training is judged by.
            exact = isinstance(self.objective, NegativeLogLikelihood)
            monitor = default_monitor(self.program, None if exact else self.guide, self.valid, seed)
        self.monitor, self.clip_norm, self.seed, self.folder = monitor, clip_norm, seed, folder
        self.collapse = collapse_monitor(self.program, self.guide, self.valid, len(self.train), seed)
        self.average = WeightAverage(self.objective, average)
        self.scheduler = scheduler(self.raw_optimizer) if scheduler else None
        self.history, self.file = History(), HistoryFile(folder)
        self.epoch = self.updates = self.seen = 0
        self.best: dict[str, Any] = copy.deepcopy(self.objective.state_dict())
        self.saved_at = time.monotonic()
        self.step = PlainStep() if step is None else step
        self.step.start(self)

    def run(self, epochs: int, patience: int | None, max_seconds: float | None, progress: bool) -> History:
        """Train until the epochs, the patience or the time are used up; put the best weights in place."""
        start = time.monotonic()
        self.history.stopped, self.progress = "epochs", progress
        with tqdm(total=epochs, initial=self.epoch, disable=not progress, unit="epoch") as bar:
            while self.epoch < epochs:
                if patience is not None and self.epoch - self.history.best_epoch >= patience:
                    self.history.stopped = "patience"
                    break
                spent = max_seconds is not None and time.monotonic() - start >= max_seconds
                if spent and self.history.records:  # a run without an epoch would hold nothing
                    self.history.stopped = "seconds"
                    break
                record = self.run_epoch()
                bar.update()
                bar.set_postfix_str(summary(record))
                self.save(only_if_due=True)
        self.save()
        self.objective.load_state_dict(self.best)
        return self.history

    def run_epoch(self) -> dict[str, Any]:
        """One pass over the training images, then the monitor."""
        self.epoch += 1
        self.seen = 0
        start, total = time.monotonic(), 0.0
        self.module.train()
        order = torch.randperm(len(self.train)).to(self.fabric.device)
        for number, index in enumerate(order.split(self.batch_size)):
            total += self.step.update(self, self.train[index], number) * len(index)
        if self.scheduler is not None:
            self.scheduler.step()
        seconds = time.monotonic() - start
        record = {
            "epoch": self.epoch,
            "updates": self.updates,
            "seconds": round(seconds, 4),
            "images_per_second": round(self.seen / seconds, 1),
            "train_loss": total / len(self.train),
            "train_loss_name": type(self.objective).__name__,
            **self.validate(),
            **self.step.after_epoch(self),
        }
        if self.collapse is not None:
            with self.average.applied():
                record |= self.collapse.after_epoch(record, self.history.records, self.objective, self.progress)
        self.history.records.append(record)
        self.file.append(record)
        self.fabric.log_dict({k: v for k, v in record.items() if isinstance(v, float)}, step=self.epoch)
        return record

    def descend(self, images: Tensor, number: int, still: Iterable[nn.Parameter] = ()) -> float:
        """One step of the optimizer on images (n, D), in which the parameters in ``still`` keep their values; returns
        the loss.

        A parameter without a gradient is left alone by torch's optimizers, its momentum and weight decay included.
        """
        with frozen(still):
            loss = self.module(images)
        value = loss.item()
        if not abs(value) < float("inf"):
            where = locate_non_finite(self.program, self.guide, images) if self.program is not None else "unknown site"
            place = f"epoch {self.epoch}, batch {number}: {where}"
            raise NonFiniteLossError(f"loss is {value} at {place}; lower the learning rate or clip gradients")
        self.fabric.backward(loss)
        if self.clip_norm is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.clip_norm, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.update()
        self.updates += 1
        self.seen += len(images)
        return value

    def random_batch(self) -> Tensor:
        """Training images drawn with replacement, as many as a batch has: (n, D)."""
        index = torch.randint(len(self.train), (min(self.batch_size, len(self.train)),))
        return self.train[index.to(self.train.device)]

    def validate(self) -> dict[str, Any]:
        """Evaluate the monitor with the averaged weights, and keep them if they are the best so far."""
        with self.average.applied():
            if self.monitor is None:
                self.history.best_epoch, self.best = (
                    self.epoch,
                    copy.deepcopy(self.objective.state_dict()),
                )
                return {"best": True}
            value = self.monitor(self.objective)
            if value != value:
                problem = f"validation {self.monitor.name} is NaN at epoch {self.epoch}"
                raise NonFiniteLossError(f"{problem}; lower the learning rate or clip gradients")
            best = value > self.history.best_value
            if best:
                self.history.best_epoch, self.history.best_value = self.epoch, value
                self.best = copy.deepcopy(self.objective.state_dict())
        key = "valid_score" if self.monitor.claim == "none" else "valid_log_evidence"
        return {
            key: value,
            "valid_estimator": self.monitor.name,
            "valid_claim": self.monitor.claim.value,
            "best": best,
        }

    def save(self, only_if_due: bool = False) -> None:
        """Write ``checkpoint.pt``."""
        due = time.monotonic() - self.saved_at >= SECONDS_BETWEEN_CHECKPOINTS
        if self.folder is None or (only_if_due and not due):
            return
        cuda = self.fabric.device.type == "cuda"
        state = {
            "format": 1,
            "epoch": self.epoch,
            "updates": self.updates,
            "best_epoch": self.history.best_epoch,
            "best_value": self.history.best_value,
            "best": self.best,
            "last": self.objective.state_dict(),
            "optimizer": self.raw_optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else {},
            "average": self.average.state_dict(),
            "step": self.step.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.fabric.device) if cuda else torch.empty(0, dtype=torch.uint8),
        }
        save_checkpoint(self.folder / "checkpoint.pt", state)
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        """Continue from ``checkpoint.pt``; a folder without one starts from the beginning."""
        path = None if self.folder is None else self.folder / "checkpoint.pt"
        if path is None or not path.is_file():
            self.file.read(0)
            return
        state = load_checkpoint(path, self.fabric.device)
        self.objective.load_state_dict(state["last"])
        self.raw_optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.average.load_state_dict(state["average"])
        self.step.load_state_dict(state.get("step", {}))
        self.epoch, self.updates, self.best = state["epoch"], state["updates"], state["best"]
        self.history.best_epoch, self.history.best_value = state["best_epoch"], state["best_value"]
        self.history.records = self.file.read(self.epoch)
        torch.set_rng_state(state["rng"].cpu())
        if len(state["cuda_rng"]):
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.fabric.device)
