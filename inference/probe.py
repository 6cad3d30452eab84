"""What a linear classifier reads off the codes of a run: ``probe.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ppl_models.errors import InvalidInput
from ppl_models.guides import Guide

from .data import ImageData
from .estimators import evaluation_mode
from .measures.activity import posterior_means
from .randomness import keyed_noise
from .run import Run, write_json

PROBE = "probe.json"
# Of the logistic regression: enough for codes of any scale, which are standardized first.
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """The accuracy of a linear classifier of codes, fitted on those of the training images.

    Args:
        accuracy: share of the split's images whose label it reads off z ~ q(z | x), one draw per image; ``None`` where
            there is none.
        stderr: sqrt(a (1 - a) / N), over the images of the split.
        accuracy_of_means: the same from E_q(z | x). What noise hides of a code that has all but collapsed is still in
            its means: it bounds what a better decoder could be told. ``None`` where the guide has no formula for them.
        chance: share of the commonest training label among them: what a code that says nothing reaches.
        num_train, num_images: how many images it was fitted on, and scored on.
        split: the images that were scored.
        reason: why there is no accuracy; empty otherwise.
    """

    accuracy: float | None
    stderr: float | None
    accuracy_of_means: float | None
    chance: float | None
    num_train: int
    num_images: int
    split: str
    reason: str = ""


def linear_probe(run: Run, data: ImageData, split: str = "test", seed: int = 0) -> Probe:
    """How much of the label a multinomial logistic regression finds in z (Alain & Bengio 2017, 1610.01644).

    Codes are standardized by the training images'; an L2 penalty of 1, scikit-learn's own, so that nothing is tuned on
    the split.

    Args:
        run: with a guide of one latent vector.
        data: with labels.
        split: whose images are scored.
        seed: of the draws of z, which are keyed by (seed, split, image index).

    Returns:
        A probe without an accuracy, and with the reason, where there are no labels or no single latent vector.

    Raises:
        InvalidInput: for the training split, which the classifier has seen.
    """
    if split == "train":
        raise InvalidInput("--split", split, "is what the probe is fitted on", "use valid or test")
    labels = {name: data.labels(name) for name in ("train", split)}
    if any(values is None for values in labels.values()):
        return _without(data, split, f"{data.name} has no labels")
    if not isinstance(run.guide, Guide):
        return _without(data, split, "there is no posterior of one latent vector")
    classes = {name: values.numpy() for name, values in labels.items()}
    images = {name: data.split(name).to(_device(run)) for name in labels}
    with torch.no_grad(), evaluation_mode(run.program, run.guide):
        drawn = {name: draws_of(run.guide, x, seed, name) for name, x in images.items()}
        means = {name: posterior_means(run.guide, x) for name, x in images.items()}
    accuracy = _accuracy(drawn, classes, split)
    of_means = None if means[split] is None else _accuracy(means, classes, split)
    chance = float(np.mean(np.bincount(classes["train"]).argmax() == classes[split]))
    count = len(classes[split])
    error = math.sqrt(accuracy * (1 - accuracy) / count)
    return Probe(accuracy, error, of_means, chance, len(classes["train"]), count, split)


def draws_of(guide: Guide, x: Tensor, seed: int, split: str) -> Tensor:
    """One z ~ q(z | x) per image: (N, D) -> (N, L). The noise of an image is its own, whatever is drawn beside it."""
    rows = []
    for index in range(len(x)):
        with keyed_noise(seed, "probe", split, index, device=x.device):
            rows.append(guide.posterior(x[index : index + 1]).sample())
    return torch.cat(rows)


def _device(run: Run) -> torch.device:
    return next((p.device for p in run.program.parameters()), torch.device("cpu"))


def _accuracy(codes: Mapping[str, Tensor], labels: Mapping[str, np.ndarray], split: str) -> float:
    from sklearn.linear_model import LogisticRegression  # takes a second, and most scripts do not need it
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    values = {name: code.cpu().double().numpy() for name, code in codes.items()}
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    classifier.fit(values["train"], labels["train"])
    return float(np.mean(classifier.predict(values[split]) == labels[split]))


def _without(data: ImageData, split: str, reason: str) -> Probe:
    sizes = data.sizes
    return Probe(None, None, None, None, sizes["train"], sizes[split], split, reason)


def write_probe(run: Run, data: ImageData, split: str = "test") -> Probe:
    """Probe a run and write ``probe.json`` into its folder."""
    found = linear_probe(run, data, split, seed=int(run.config["seed"]))
    write_json(Path(run.path) / PROBE, {"format": 1, **asdict(found), "data_digest": data.digest})
    return found
