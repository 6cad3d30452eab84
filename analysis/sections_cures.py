"""The section on the cures for posterior collapse."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.cure_verdicts import statements
from analysis.cures import CURED, MARGIN, CureRow, cure_rows
from analysis.plots_cures import cure_figure
from analysis.runs import Study
from analysis.style import Picture, as_picture, house_style


@dataclass(frozen=True, eq=False)
class CureEntry:
    """The cures of one study.

    Attributes:
        rows: the references first, then by evidence.
        statements: the verdict.
        picture: rate against distortion, and against evidence; ``None`` without a row.
        left_out: members that are not in the table, with the reason.
        cured, margin: what a cure must reach, nats.
    """

    rows: list[CureRow]
    statements: list[str]
    picture: Picture | None
    left_out: list[tuple[str, str]]
    cured: float
    margin: float


def cures(study: Study) -> CureEntry:
    """All that the section shows."""
    rows, left_out = cure_rows(study)
    rows.sort(key=lambda row: (row.is_cure, -row.evidence.mean))
    left_out += [(str(f["run"]), str(f["error"])) for f in study.meta.get("failures", [])]
    with house_style():
        figure = cure_figure(rows)
        alt = "Rate and distortion of every cure with iso-ELBO lines, and evidence against rate"
        picture = None if figure is None else as_picture(figure, alt)
    return CureEntry(rows, statements(rows), picture, left_out, CURED, MARGIN)


def cure_lines(entry: CureEntry) -> list[str]:
    """The verdict for the terminal."""
    return [f"cures: {sentence}" for sentence in entry.statements]
