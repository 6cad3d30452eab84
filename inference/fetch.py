"""Finds, downloads and keeps the public data sets of `inference.sources`.

A set is looked for in `--data-dir`, then in `$PPL_DATA`, then in the download cache, and is
downloaded last. Whatever the way, its contents are verified before anything is used. The cache
holds only verified contents, and a file in it appears whole or not at all.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pooch

from inference.readers import UNREADABLE, Images, read_files, write_npz
from inference.sources import SOURCES, verified
from ppl_models.errors import InvalidInput

log = logging.getLogger(__name__)


def _folders(data_dir: Path | None) -> Iterator[tuple[str, Path]]:
    """The user's folders, each with what the user calls it."""
    given = {"--data-dir": data_dir, "PPL_DATA": os.environ.get("PPL_DATA") or None}
    for argument, folder in given.items():
        if folder is None:
            continue
        if not Path(folder).is_dir():
            raise InvalidInput(argument, str(folder), "is not a folder", "name an existing folder")
        yield argument, Path(folder)


def _find(name: str, folder: Path) -> tuple[Path, list[str]] | None:
    """A folder and the files in it that hold the set, by their names alone."""
    source = SOURCES[name]
    forms = [[source.file]] + [list(mirror.files) for mirror in source.mirrors]
    for place in (folder / name, folder):
        for form in forms:
            for names in (form, [file.removesuffix(".gz") for file in form]):
                if all((place / file).is_file() for file in names):
                    return place, names
    return None


def _remedy(name: str) -> str:
    files = [[SOURCES[name].file]] + [list(mirror.files) for mirror in SOURCES[name].mirrors]
    forms = dict.fromkeys(" + ".join(form) for form in files)
    return f"put {' or '.join(forms)} into a folder and name it by --data-dir or PPL_DATA"


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(pooch.os_cache("ppl-models"))


def _download_file(url: str, path: Path, checksum: str | None) -> None:
    """One file, compared with its `md5:...` where there is one; a cut connection raises too."""
    log.info("downloading %s", url)
    pooch.HTTPDownloader()(url, str(path), None)
    if checksum is not None:
        algorithm, expected = checksum.split(":")
        found = pooch.file_hash(str(path), alg=algorithm)
        if found != expected:
            raise ValueError(f"{path.name} has the {algorithm} {found}, not {expected}")


def _download(name: str) -> Images:
    """Downloads a set from the first mirror whose contents are right.

    Raises:
        InvalidInput: no mirror gave them; says what each one answered.
    """
    source, answers = SOURCES[name], []
    for mirror in source.mirrors:
        with tempfile.TemporaryDirectory(prefix="ppl-models-") as folder:
            try:
                for file, checksum in mirror.files.items():
                    _download_file(mirror.url + file, Path(folder) / file, checksum)
                return verified(source, read_files(Path(folder), mirror.files))
            except UNREADABLE as error:  # every network error of requests is an OSError
                answers.append(f"{mirror.url}: {error}")
    problem = f"download failed ({' | '.join(answers)})"
    raise InvalidInput("--data", name, problem, _remedy(name))


def _keep(name: str, images: Images) -> None:
    """Writes verified images to the cache: under another name, then moved there in one step."""
    source, folder = SOURCES[name], cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
    os.close(handle)
    try:
        full = Images(images.splits, images.labels, source.shape, source.levels)
        write_npz(Path(partial), full)
        os.replace(partial, folder / source.file)
    finally:
        Path(partial).unlink(missing_ok=True)


def load_public(name: str, data_dir: Path | None = None) -> Images:
    """The verified images of a public data set, flat (N, D) uint8, in their fixed order.

    Args:
        name: a key of `SOURCES`.
        data_dir: the folder to look in first; then `$PPL_DATA`, the cache, and the mirrors.

    Raises:
        InvalidInput: a folder does not exist; a file in a user's folder is not what it claims (it
            is never passed over in silence); nothing was found and the download failed.
    """
    source = SOURCES[name]
    for argument, folder in _folders(data_dir):
        found = _find(name, folder)
        if found:
            place, files = found
            try:
                return verified(source, read_files(place, files))
            except UNREADABLE as error:
                problem = f"{' + '.join(files)} in {place}: {error}"
                remedy = f"replace it, or remove it to have {name} downloaded"
                raise InvalidInput(argument, str(folder), problem, remedy) from error
    cached = cache_folder() / source.file
    if cached.exists():
        try:
            return verified(source, read_files(cached.parent, [source.file]))
        except UNREADABLE as error:
            log.warning("%s is not used and is downloaded again: %s", cached, error)
    images = _download(name)
    _keep(name, images)
    return images
