"""The report: one file that opens anywhere, holds up with parts missing, and refuses bad input in one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis.report import main, summary, write_report
from analysis.sections import SECTIONS

ROOT = Path(__file__).parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def script(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "analysis.report", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def written(make_comparison, tmp_path_factory) -> tuple[Path, str]:
    """A report written by the script, and what the script printed."""
    root = make_comparison(tmp_path_factory.mktemp("compare"), seeds=2, images=60)
    result = script(root)
    assert (result.returncode, result.stderr) == (0, "")
    return root / "report.html", result.stdout


class Page(HTMLParser):
    """Collects addresses, ids, and unbalanced tags of a page."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = dict(attributes)
        self.addresses += [str(named[name]) for name in ("src", "href") if name in named]
        self.ids += [str(named["id"])] if "id" in named else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def test_it_is_one_file(written) -> None:
    page = Page(written[0].read_text())
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    linked = {address[1:] for address in page.addresses if address.startswith("#")}
    assert linked <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert set(page.ids) == {section.key for section in SECTIONS if "compare" in (section.studies or ("compare",))}
    assert sum(address.startswith("data:image") for address in page.addresses) >= 8
    assert "<script" not in written[0].read_text()


def test_it_says_what_follows_and_what_does_not(written) -> None:
    page, printed = written[0].read_text(), written[1]
    assert printed.splitlines()[0] == str(written[0])
    for text in (printed, page):
        assert "run ais on vae" in text
        assert "cannot show that it is worse" in text
        assert "exp(-reconstruction error) does not sum to one" in text
        assert "The ELBO alone" in text
    assert "made has higher log p(x) than independent_pixels: established" in printed
    assert 'class="pill established"' in page
    established = page.split('id="agenda"')[1].split("</section>")[0]
    assert "<strong>made &gt; independent_pixels</strong>" in established
    assert "run ais on vae" in established
    assert 'class="pill undecided"' in page
    assert "python -m inference.study compare" in page
    assert "sha256:aaaa" in page


def test_the_same_files_give_the_same_page(written) -> None:
    again, _ = write_report(written[0].parent, written[0].parent / "again.html")
    assert again.read_text() == written[0].read_text()


def test_a_long_reason_is_one_line_on_the_terminal(folders, capsys) -> None:
    folders.config("run", "Autoencoder")
    folders.evidence("run", {"exact": ("none", "no density:\n  it does not\n  sum to one")})
    assert main([str(folders.root / "run")]) == 0
    assert "no density: it does not sum to one" in capsys.readouterr().out


def test_many_undecided_pairs_are_counted_and_what_is_decided_is_told(folders) -> None:
    """Five programs with bounds alone are ten pairs without an order; the exact one is beaten by none."""
    names = [f"vae_{n}" for n in range(5)]
    for name in names:
        bound = {"elbo:4": ("LOWER_BOUND", np.linspace(-9, -8, 20))}
        folders.run(f"{name}/seed-0", "VAE", bound, images=list(range(20)))
    folders.run("made/seed-0", "MADE", {"exact": ("EXACT", np.linspace(-19, -18, 20))}, images=list(range(20)))
    folders.run("odd/seed-0", "MADE", {"exact": ("EXACT", np.zeros(20) - 1)}, images=list(range(20)), levels=4)
    folders.study({name: [f"{name}/seed-0"] for name in [*names, "made", "odd"]})
    lines = summary(write_report(folders.root)[1])
    assert "runs: 10 of 15 pairs are undecided; the page says what would decide each" in lines
    assert sum("has higher log p(x) than made: established" in line for line in lines) == 5
    assert sum(line.startswith("runs: ") for line in lines) == 6
    refused = [line for line in lines if line.startswith("refused: ")]
    assert len(refused) == 1
    assert refused[0].count(" and odd/seed-0") == 3
    assert "; 3 more: not comparable: levels differs" in refused[0]


def test_failures_of_a_study_stand_in_its_report(folders) -> None:
    folders.run("made/seed-0", "MADE", {"exact": ("EXACT", np.linspace(-9, -8, 20))}, images=list(range(20)))
    root = folders.study({"made": ["made/seed-0"]})
    content = json.loads((root / "study.json").read_text())
    content["failures"] = [{"run": "vae/seed-0", "error": "OSError: no <space> left"}]
    (root / "study.json").write_text(json.dumps(content))
    page = write_report(root)[0].read_text()
    assert "<code>vae/seed-0</code>: OSError: no &lt;space&gt; left" in page


def test_names_are_escaped(folders) -> None:
    folders.config("run", recipe="<script>alert(1)</script>")
    page = write_report(folders.root / "run")[0].read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_it_holds_up_without_most_parts(folders) -> None:
    path, _ = write_report(folders.config("run", "VAE"))
    page = path.read_text()
    for command in ("inference.evaluate", "inference.sample", "inference.train"):
        assert command in page
    assert page.count("Not here:") >= 6
    Page(page)


def test_every_single_part_may_be_missing(make_comparison, tmp_path) -> None:
    root = make_comparison(tmp_path, seeds=1, images=12)
    parts = ("evidence.nc", "structure.json", "samples.nc", "history.jsonl", "reconstructions.nc")
    runs = ("made", "made", "vae", "independent_pixels", "autoencoder")
    for run, name in zip(runs, parts, strict=True):
        (root / run / "seed-0" / name).unlink()
    page = write_report(root)[0].read_text()
    for run, name in zip(runs, parts, strict=True):
        assert re.search(rf"<li>{name}: <code>python -m inference\.\w+ \S*{run}", page), name
    Page(page)


def test_a_single_run(written) -> None:
    folder = written[0].parent / "vae" / "seed-0"
    path, _ = write_report(folder)
    assert path == folder / "report.html"
    assert "There is no pair of runs to compare" in path.read_text()


def test_another_place(written, tmp_path) -> None:
    assert main([str(written[0].parent / "made"), "--out", str(tmp_path / "page.html")]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def spoil(root: Path, kind: str) -> tuple[list[object], str]:
    """Arguments that must be refused, and what the line must say."""
    run = root / "made" / "seed-0"
    if kind == "no folder":
        return [root / "nowhere"], "nowhere: there is no such folder; give a study or a run folder"
    if kind == "empty folder":
        (root / "empty").mkdir()
        return [root / "empty"], "empty: holds neither study.json"
    if kind == "no argument":
        return [], "the following arguments are required: folder"
    if kind == "unknown option":
        return [root, "--colour", "red"], "unrecognized arguments: --colour red"
    if kind == "out in no folder":
        return [root, "--out", root / "no" / "page.html"], "lies in a folder that does not exist"
    if kind == "out is a folder":
        return [root, "--out", root / "made"], "made: is a folder; give a file"
    name, content = {
        "broken study": ("study.json", "{"),
        "broken config": ("made/seed-0/config.json", "{}"),
        "broken evidence": ("made/seed-0/evidence.nc", "zero"),
        "broken samples": ("made/seed-0/samples.nc", "zero"),
        "broken latents": ("vae/seed-0/latents.nc", "zero"),
        "broken history": ("made/seed-0/history.jsonl", "{}\n"),
    }[kind]
    (root / name).write_text(content)
    assert run.exists()
    return [root], Path(name).name


@pytest.mark.parametrize(
    "kind",
    [
        "no folder",
        "empty folder",
        "no argument",
        "unknown option",
        "out in no folder",
        "out is a folder",
        "broken study",
        "broken config",
        "broken evidence",
        "broken samples",
        "broken latents",
        "broken history",
    ],
)
def test_bad_input(make_comparison, tmp_path, kind: str) -> None:
    root = make_comparison(tmp_path, seeds=1, images=8)
    arguments, message = spoil(root, kind)
    before = sorted(root.rglob("*"))
    result = script(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert re.fullmatch(r"error: .+; .+\n", result.stderr), result.stderr
    assert message in result.stderr
    assert sorted(root.rglob("*")) == before


def test_an_old_report_survives_bad_input(make_comparison, tmp_path) -> None:
    root = make_comparison(tmp_path, seeds=1, images=8)
    (root / "report.html").write_text("old")
    (root / "made" / "seed-0" / "config.json").write_text("{}")
    assert main([str(root)]) == 2
    assert (root / "report.html").read_text() == "old"


def opened(page: Path, folder: Path) -> tuple[list[str], list[str]]:
    """What a browser says while it opens a page: console messages, and addresses the page itself asks the network for.

    The browser's own traffic (updates, clocks) has no page as its initiator.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser found (looked for {', '.join(BROWSERS)})")
    log, picture = folder / "net.json", folder / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1200,2000"]
    flags += [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", f"--screenshot={picture}"]
    result = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True, timeout=120)
    assert picture.stat().st_size > 1000, result.stderr
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    starts = [json.loads(line.rstrip(",")) for line in log.read_text().splitlines() if '"initiator"' in line]
    asked = [start["params"] for start in starts if start["params"]["initiator"] != "not an origin"]
    return console, [request["url"] for request in asked if not request["url"].startswith("data:")]


@pytest.mark.chromium
def test_it_opens_without_error_or_network(written, tmp_path) -> None:
    assert opened(written[0], tmp_path) == ([], [])


@pytest.mark.chromium
def test_the_browser_would_tell(tmp_path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p>x</p><img src='http://elsewhere.example/a.png'><script>console.error('oh')</script>")
    console, requests = opened(page, tmp_path)
    assert any("oh" in line for line in console)
    assert requests == ["http://elsewhere.example/a.png"]
