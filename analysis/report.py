"""``python -m analysis.report FOLDER``: one self-contained ``report.html`` on a study or a run.

The page needs no other file and no network: styles are in it, pictures are data URLs. The same files give the same page
to the byte.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jinja2

from analysis.command_line import Parser
from analysis.errors import InvalidInput
from analysis.headlines import headlines
from analysis.pairs import judge_study
from analysis.ranking import elbo_ranking
from analysis.runs import Study, read_study
from analysis.sections import SECTIONS, Findings
from analysis.sections_cures import cure_lines
from analysis.sections_gap import gap_lines
from analysis.sections_sweep import sweep_lines
from analysis.verdicts import Word

TEMPLATES = Path(__file__).parent / "templates"
PAIRS_NAMED, UNDECIDED_TOLD = 3, 6


def find(study: Study) -> Findings:
    """All that is computed before anything is drawn."""
    judgement = judge_study(study)
    return Findings(study, judgement, elbo_ranking(study, judgement))


def render_report(findings: Findings) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = fixed
    name = str(findings.study.meta["study"])
    sections = []
    for section in SECTIONS:
        if section.studies and name not in section.studies:
            continue
        template = environment.get_template(f"sections/{section.key}.html.j2")
        body = template.render(section.content(findings))
        sections.append({"key": section.key, "title": section.title, "body": body})
    folder = findings.study.path.resolve().name
    title = name if folder == name else f"{name}: {folder}"
    return environment.get_template("report.html.j2").render(title=title, sections=sections)


def fixed(value: float, digits: int = 3) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if math.isnan(value):
        return "\N{EN DASH}"
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def summary(findings: Findings) -> list[str]:
    """The verdict lines for the terminal: one line each, whatever the reasons in the files hold."""
    judgement, study = findings.judgement, findings.study
    lines = []
    if study.meta["study"] == "collapse":
        lines = [*cure_lines(findings.cures), *sweep_lines(findings.linear[0], findings.sweeps)]
    heads = headlines(judgement.of_scope("runs"))
    lines += _told("runs", [(headline.word, headline.sentence) for headline in heads])
    lines += _told("methods", [(verdict.word, verdict.sentence) for verdict in judgement.of_scope("methods")])
    lines += [f"refused: {name}: {reason}" for name, reason in judgement.without_numbers]
    lines += [f"refused: {_some(pairs)}: {reason}" for reason, pairs in judgement.incomparable_by_reason.items()]
    if len(study.members) > 1:
        lines.append(findings.ranking.sentence)
    lines += gap_lines(study)
    return [" ".join(line.split()) for line in lines]


def _told(scope: str, verdicts: Sequence[tuple[Word, str]]) -> list[str]:
    """What was decided, and what was not as long as that is a few lines: studies of many members have hundreds."""
    open_pairs = [sentence for word, sentence in verdicts if word is Word.UNDECIDED]
    few = len(open_pairs) <= UNDECIDED_TOLD
    lines = [f"{scope}: {sentence}" for word, sentence in verdicts if few or word is not Word.UNDECIDED]
    if not few:
        count = f"{len(open_pairs)} of {len(verdicts)} pairs are undecided"
        lines.append(f"{scope}: {count}; the page says what would decide each")
    return lines


def _some(pairs: Sequence[str]) -> str:
    """The first few pairs, and how many more there are: the page has them all."""
    more = len(pairs) - PAIRS_NAMED
    return "; ".join(pairs[:PAIRS_NAMED]) + (f"; {more} more" if more > 0 else "")


def write_report(folder: Path, out: Path | None = None) -> tuple[Path, Findings]:
    """Read a folder, write its report, and return where it lies with what was found.

    Args:
        folder: a study, a run, or a folder that holds ``seed-*``.
        out: the file to write; ``FOLDER/report.html`` if not given. It is replaced in one step.

    Raises:
        InvalidInput: the folder or a file in it cannot be used, or ``out`` cannot be written.
    """
    out = folder / "report.html" if out is None else out
    if out.is_dir() or not out.parent.is_dir():
        problem = "is a folder" if out.is_dir() else "lies in a folder that does not exist"
        if folder.is_dir():
            raise InvalidInput("--out", out, problem, "give a file in an existing folder")
    findings = find(read_study(folder))
    page = render_report(findings)
    _replace(out, page)
    return out, findings


def _replace(out: Path, text: str) -> None:
    """Write beside the target and rename: a reader sees the old page or the new one."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=out.parent, prefix=f".{out.name}.", delete=False
        ) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        os.replace(file.name, out)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InvalidInput("--out", out, problem, "give a file in a folder you may write to") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The script. Returns 0, or 2 after one line on standard error."""
    parser = Parser("python -m analysis.report", __doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a study folder, a run, or a folder of seed-*")
    parser.add_argument("--out", type=Path, help="the file to write (default: FOLDER/report.html)")
    options = parser.parse_args(arguments)
    try:
        path, findings = write_report(options.folder, options.out)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    for line in summary(findings):
        print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
