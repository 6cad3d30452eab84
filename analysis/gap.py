"""The split of a bound's gap read out: the content of ``gap.nc``, and what may be said of each part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.errors import InvalidInput
from analysis.files import MAKERS, SCHEMA, read_dataset

# Difference -> what it is of.
DIFFERENCES = {
    "gap_lower": ("log_evidence_lower", "elbo"),
    "gap_upper": ("log_evidence_upper", "elbo"),
    "amortization_gap_lower": ("best_elbo", "elbo"),
    "approximation_gap_upper": ("log_evidence_upper", "best_elbo"),
    "approximation_gap_if_converged": ("log_evidence_lower", "best_elbo"),
}
QUANTITIES = ("elbo", "best_elbo", "log_evidence_lower", "log_evidence_upper", *DIFFERENCES)
_PER_IMAGE = {name: ("image",) for quantity in QUANTITIES for name in (quantity, f"{quantity}_stderr")}
_VARIABLES = _PER_IMAGE | {
    "elbo_of_candidate": ("candidate", "image"),
    "chosen": ("image",),
    "candidate": ("candidate",),
    "image": ("image",),
}
_IDENTITY = ("measure", "levels", "data_digest", "split", "program")
_ATTRIBUTES = (*_IDENTITY, "units", "guide", "data", "seed", "lower_source", "upper_source")
# Sums of single-precision numbers of some hundred nats.
ROUNDING_NATS = 1e-3


@dataclass(frozen=True, eq=False)
class GapSplit:
    """The content of ``gap.nc``, nats per image.

    Attributes:
        values, stderr: name to (N,), see docs/files.md; NaN where a side is not known.
        images: (N,) indices in the split.
        candidates: what the best member was chosen among, the guide as trained first.
        elbo_of_candidate: (C, N), on the noise of the choice.
        chosen: (N,).
        lower_source, upper_source: estimator and claim of the sides of log p(x); empty where there is none.
        closed_form: the approximation gap by theory; NaN where there is none.
        identity: what must agree for two splits to be compared.
        guide: the guide's name.
    """

    values: Mapping[str, np.ndarray]
    stderr: Mapping[str, np.ndarray]
    images: np.ndarray
    candidates: tuple[str, ...]
    elbo_of_candidate: np.ndarray
    chosen: np.ndarray
    lower_source: str
    upper_source: str
    closed_form: float
    identity: tuple[object, ...]
    guide: str

    def __getitem__(self, name: str) -> np.ndarray:
        """(N,) values by name."""
        return self.values[name]

    @property
    def is_annealed(self) -> bool:
        """Whether the lower side of log p(x) is annealed importance sampling's."""
        return self.lower_source.startswith("ais")

    @property
    def is_two_sided(self) -> bool:
        """Whether log p(x) is known from both sides."""
        return bool(self.lower_source and self.upper_source)

    @property
    def spread_of_starts(self) -> np.ndarray:
        """(N,) nats between the best and the worst end of the searches of an image."""
        ends = self.elbo_of_candidate[1:]
        return ends.max(axis=0) - ends.min(axis=0)


def read_gap(path: Path) -> GapSplit:
    """Read ``gap.nc``.

    Raises:
        InvalidInput: the file is missing or malformed, not in nats, or its parts do not add up.
    """
    dataset = read_dataset(path, _VARIABLES)
    for name in _ATTRIBUTES:
        if name not in dataset.attrs:
            raise InvalidInput(str(path), name, "this attribute is missing", f"write it as in {SCHEMA}")
    attrs = dataset.attrs
    if attrs["units"] != "nats":
        raise InvalidInput(str(path), f"units {attrs['units']}", "are not nats", "write nats per image")
    found = GapSplit(
        values={name: dataset[name].values.astype(float) for name in QUANTITIES},
        stderr={name: dataset[f"{name}_stderr"].values.astype(float) for name in QUANTITIES},
        images=dataset["image"].values,
        candidates=tuple(map(str, dataset["candidate"].values)),
        elbo_of_candidate=dataset["elbo_of_candidate"].values.astype(float),
        chosen=dataset["chosen"].values,
        lower_source=str(attrs["lower_source"]),
        upper_source=str(attrs["upper_source"]),
        closed_form=float(attrs.get("approximation_gap_closed_form", np.nan)),
        identity=tuple(attrs[name] if isinstance(attrs[name], str) else int(attrs[name]) for name in _IDENTITY),
        guide=str(attrs["guide"]),
    )
    _check(path, found)
    return found


def _check(path: Path, found: GapSplit) -> None:
    """That the file says nothing that contradicts itself."""
    again = f"make it again with: {MAKERS['gap.nc']}"
    if not found.images.size or len(found.candidates) < 2:
        raise InvalidInput(str(path), "image, candidate", "has no image, or no start of a search", again)
    if found.chosen.min() < 0 or found.chosen.max() >= len(found.candidates):
        raise InvalidInput(str(path), "chosen", f"lies outside 0..{len(found.candidates) - 1}", again)
    for name, errors in found.stderr.items():
        if (errors < 0).any():
            raise InvalidInput(str(path), f"{name}_stderr", "is negative", again)
    for name in ("elbo", "best_elbo"):
        if not np.isfinite(found[name]).all():
            raise InvalidInput(str(path), name, "is not finite", again)
    _check_sums(path, found, again)


def _check_sums(path: Path, found: GapSplit, again: str) -> None:
    """That sides and differences agree with what they are made of."""
    for side in ("lower", "upper"):
        source = getattr(found, f"{side}_source")
        if np.isnan(found[f"log_evidence_{side}"]).any() == bool(source):
            problem = "names an estimator and has no values" if source else "has values and names no estimator"
            raise InvalidInput(str(path), f"log_evidence_{side}", problem, again)
    for name, (higher, lower) in DIFFERENCES.items():
        expected = found[higher] - found[lower]
        if not np.allclose(found[name], expected, atol=ROUNDING_NATS, rtol=0, equal_nan=True):
            raise InvalidInput(str(path), name, f"is not {higher} - {lower}", again)
