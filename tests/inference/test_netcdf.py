"""A file is whole or what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from inference.netcdf import read_netcdf, write_netcdf
from ppl_models import InvalidInput


def test_what_is_written_is_read(tmp_path: Path) -> None:
    content = xr.Dataset({"v": ("image", [1.0, 2.0])}, attrs={"units": "nats"})
    write_netcdf(tmp_path / "a.nc", content)
    xr.testing.assert_identical(read_netcdf(tmp_path / "a.nc", "evidence"), content)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = xr.Dataset({"v": ("image", [1.0])})
    write_netcdf(tmp_path / "a.nc", old)

    def interrupted(self: xr.Dataset, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_netcdf(tmp_path / "a.nc", old)
    xr.testing.assert_identical(read_netcdf(tmp_path / "a.nc", "evidence"), old)


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_text("no netCDF")
    with pytest.raises(InvalidInput, match=r"--gap.*a\.nc.*cannot be read.*--overwrite"):
        read_netcdf(tmp_path / "a.nc", "--gap")
