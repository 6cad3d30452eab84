"""Local folders, the cache and downloads, against a server on this machine that can misbehave."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from inference import fetch
from inference.data import DATA_SETS, _public, load_data
from inference.readers import Images, write_npz
from inference.sources import SOURCES, Mirror, Source, content_digest, in_fixed_order
from ppl_models.errors import InvalidInput

SPLITS = ("train", "valid", "test")
DIM = 784


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> bytes); /cut/... sends half of what it announces."""

    files: dict[str, bytes]
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        content = content or b""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if "/cut/" in self.path else content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("PPL_DATA", raising=False)
    return tmp_path / "cache"


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {split: rng.integers(0, 2, (n, DIM)).astype(np.uint8) for n, split in enumerate(SPLITS, start=5)}


def as_text(array: np.ndarray) -> bytes:
    return "\n".join(" ".join(map(str, row)) for row in array.tolist()).encode() + b"\n"


@pytest.fixture
def tiny(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A set named tiny, three text files under /good/, /cut/ and (one bit wrong) /wrong/."""
    arrays = images()
    for split, array in arrays.items():
        for place in ("good", "cut", "wrong"):
            server.files[f"/{place}/tiny_{split}.amat"] = as_text(array)
    arrays["test"] = arrays["test"].copy()
    arrays["test"][0, 0] ^= 1
    server.files["/wrong/tiny_test.amat"] = as_text(arrays["test"])
    ordered = {split: in_fixed_order(array) for split, array in images().items()}
    digest = content_digest(f"{(1, 28, 28)} 2", ordered)
    source = Source("tiny.npz", (1, 28, 28), 2, digest, None, False, mirrors(server, "good"))
    monkeypatch.setitem(SOURCES, "tiny", source)
    monkeypatch.setitem(DATA_SETS, "tiny", lambda data_dir: _public(data_dir, name="tiny"))
    return source


def mirrors(server: Server, *places: str) -> tuple[Mirror, ...]:
    files = dict.fromkeys(f"tiny_{split}.amat" for split in SPLITS)
    return tuple(Mirror(f"http://127.0.0.1:{server.server_port}/{p}/", files) for p in places)


def use(monkeypatch: pytest.MonkeyPatch, server: Server, tiny: Source, *places: str) -> None:
    monkeypatch.setitem(SOURCES, "tiny", replace(tiny, mirrors=mirrors(server, *places)))


def test_a_download_is_verified_kept_and_not_repeated(server: Server, cache: Path, tiny: Source) -> None:
    data = load_data("tiny")
    assert data.digest == tiny.digest and data.shape == (1, 28, 28)
    rows = {tuple(row) for row in images()["train"].tolist()}
    assert {tuple(row) for row in data.split("train").int().tolist()} == rows
    assert [path.name for path in cache.iterdir()] == ["tiny.npz"]
    assert len(server.asked) == 3
    again = load_data("tiny")
    assert len(server.asked) == 3 and torch.equal(again.split("test"), data.split("test"))


@pytest.mark.parametrize(("place", "says"), [("cut", "IncompleteRead"), ("wrong", "images differ"), ("none", "404")])
def test_a_bad_download_is_refused_and_leaves_nothing(
    server: Server,
    cache: Path,
    tiny: Source,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    says: str,
) -> None:
    use(monkeypatch, server, tiny, place)
    with pytest.raises(InvalidInput, match=rf"download failed \(.*{says}") as error:
        load_data("tiny")
    assert "put tiny.npz or tiny_train.amat" in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_the_next_mirror_is_tried(server: Server, cache: Path, tiny: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, server, tiny, "none", "cut", "wrong", "good")
    assert load_data("tiny").digest == tiny.digest


def test_a_checksum_of_a_file_is_compared(
    server: Server, cache: Path, tiny: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = mirrors(server, "good")[0]
    sums = {f: hashlib.md5(server.files[f"/good/{f}"]).hexdigest() for f in good.files}
    for damage, passes in ((False, True), (True, False)):
        files = {file: f"md5:{'0' * 32 if damage else h}" for file, h in sums.items()}
        monkeypatch.setitem(SOURCES, "tiny", replace(tiny, mirrors=(Mirror(good.url, files),)))
        if passes:
            assert load_data("tiny").digest == tiny.digest
            (cache / "tiny.npz").unlink()
        else:
            with pytest.raises(InvalidInput, match=r"download failed .*has the md5"):
                load_data("tiny")


@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "another set"])
def test_a_damaged_cache_is_named_and_replaced_never_used(
    server: Server,
    cache: Path,
    tiny: Source,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    load_data("tiny")
    kept = cache / "tiny.npz"
    whole = kept.read_bytes()
    other = {split: 1 - array for split, array in images().items()}
    write_npz(cache / "other.npz", Images(other, {}, (1, 28, 28), 2))
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    another = (cache / "other.npz").read_bytes()
    cases = {"cut": whole[:-40], "flipped": bytes(flipped), "text": b"?", "another set": another}
    kept.write_bytes(cases[damage])

    use(monkeypatch, server, tiny, "cut")  # offline, so to speak: refused rather than used
    with caplog.at_level(logging.WARNING), pytest.raises(InvalidInput, match="download failed"):
        load_data("tiny")
    assert "tiny.npz" in caplog.text and "downloaded again" in caplog.text

    use(monkeypatch, server, tiny, "good")
    assert load_data("tiny").digest == tiny.digest
    server.asked.clear()
    assert load_data("tiny").digest == tiny.digest and not server.asked, "the cache was not mended"


def test_a_write_that_fails_leaves_the_cache_as_it_was(
    cache: Path, tiny: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, images: Images) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(fetch, "write_npz", full)
    with pytest.raises(OSError, match="no space"):
        load_data("tiny")
    assert list(cache.iterdir()) == []


def test_folders_come_first_and_in_their_order(
    server: Server, cache: Path, tiny: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text files in --data-dir, an .npz in PPL_DATA; rows in any order; one damaged is refused."""
    first, second = tmp_path / "first" / "tiny", tmp_path / "second"
    first.mkdir(parents=True)
    second.mkdir()
    for split, array in images().items():
        (first / f"tiny_{split}.amat").write_bytes(as_text(array[::-1]))
    write_npz(second / "tiny.npz", Images(images(), {}, (28, 28), 2))
    monkeypatch.setenv("PPL_DATA", str(second))
    from_env, from_argument = load_data("tiny"), load_data("tiny", first.parent)
    assert from_env.digest == from_argument.digest == tiny.digest
    assert torch.equal(from_env.split("test"), from_argument.split("test"))

    (first / "tiny_test.amat").write_bytes(as_text(images()["test"])[:-2])
    with pytest.raises(InvalidInput, match=r"^--data-dir '.*cut off; replace it, or remove"):
        load_data("tiny", first.parent)
    (second / "tiny.npz").write_bytes(b"?")
    with pytest.raises(InvalidInput, match=r"^PPL_DATA '.*is no .npz file"):
        load_data("tiny")
    assert server.asked == [] and not cache.exists()


def test_a_folder_that_is_none_is_refused(
    cache: Path, tiny: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"^--data-dir '.*absent': is not a folder"):
        load_data("tiny", tmp_path / "absent")
    monkeypatch.setenv("PPL_DATA", str(tmp_path / "absent"))
    with pytest.raises(InvalidInput, match=r"^PPL_DATA '.*absent': is not a folder"):
        load_data("tiny")
    assert load_data("digits").levels == 2  # needs no folder
