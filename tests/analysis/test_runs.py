"""Run and study folders: what is read, and one clear line for what is not."""

from __future__ import annotations

import json

import pytest

from analysis.errors import InvalidInput
from analysis.runs import read_history, read_run, read_samples, read_structure, read_study


def test_a_whole_study(compare_study) -> None:
    study = read_study(compare_study)
    assert [member.name for member in study.members] == ["made", "vae", "autoencoder", "independent_pixels"]
    assert [len(member.runs) for member in study.members] == [3, 3, 3, 1]
    assert study.members[3].role == "baseline"
    assert study.members[1].runs[2].seed == 2
    assert all(run.missing == {} for member in study.members for run in member.runs)


def test_a_run_and_a_folder_of_seeds(compare_study) -> None:
    assert len(read_study(compare_study / "vae").members[0].runs) == 3
    alone = read_study(compare_study / "vae" / "seed-1")
    assert (alone.members[0].name, alone.members[0].runs[0].seed) == ("vae", 1)


def test_seeds_are_read_in_numerical_order(folders) -> None:
    for seed in (10, 9):
        folders.config(f"seed-{seed}", seed=seed)
    assert [run.seed for run in read_study(folders.root).members[0].runs] == [9, 10]


def test_missing_parts_name_their_command(folders) -> None:
    run = read_run(folders.config("vae", "VAE"))
    assert run.evidence is None
    assert run.missing["evidence.nc"].startswith("python -m inference.evaluate")
    assert "reconstructions.nc" in run.missing
    assert "samples.nc" not in read_run(folders.config("ae", "Autoencoder")).missing


def test_a_run_folder_that_is_not_there_is_reported(folders) -> None:
    folders.config("made")
    assert read_study(folders.study({"made": ["made", "gone"], "lost": ["lost"]})).absent == ("gone", "lost")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "line 1: is not JSON"),
        ("config.json", "[]", "list: is not a JSON object"),
        ("config.json", "{}", "program: this key is missing"),
        ("config.json", json.dumps({"program": 3}), "program: has the type int"),
        ("history.jsonl", "", "holds no record"),
        ("history.jsonl", "{}\n", "line 1: epoch: this key is missing"),
        ("history.jsonl", "not json\n", "line 1: is not JSON"),
        (
            "history.jsonl",
            json.dumps({"epoch": 1, "train_loss": 1.0, "train_loss_name": "L", "valid_claim": "SURE"}),
            "valid_claim SURE: is no known claim",
        ),
        ("structure.json", json.dumps({"program": {}, "generation": {"kind": "magic"}}), "generation.kind magic"),
    ],
)
def test_malformed_text(folders, name: str, content: str, message: str) -> None:
    folder = folders.config("run")
    (folder / name).write_text(content)
    with pytest.raises(InvalidInput, match=message) as error:
        read_run(folder)
    assert str(error.value).startswith(str(folder / name))
    assert "\n" not in str(error.value)


def test_missing_files_by_their_readers(tmp_path) -> None:
    for reader in (read_history, read_structure, read_samples):
        with pytest.raises(InvalidInput, match="there is no such file"):
            reader(tmp_path)


def test_images_of_another_size(compare_study) -> None:
    import xarray as xr

    path = compare_study / "made" / "seed-0"
    with xr.open_dataset(path / "samples.nc", engine="h5netcdf") as opened:
        samples = opened.load()
    samples.attrs["height"] = 9
    samples.to_netcdf(path / "samples.nc", engine="h5netcdf")
    with pytest.raises(InvalidInput, match="height x width x channels = 72"):
        read_samples(path)


def test_folders_that_are_none(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="no such folder"):
        read_study(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="holds neither"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"study": "s", "question": "q", "members": [{"name": "a"}]}))
    with pytest.raises(InvalidInput, match="one lacks name or runs"):
        read_study(tmp_path)


def test_a_run_counts_once(folders) -> None:
    folders.config("made")
    folders.config("copy")
    for runs in (["made", "made"], ["made", "copy"]):
        with pytest.raises(InvalidInput, match=r"study\.json made: has two runs of seed 0"):
            read_study(folders.study({"made": runs}))
    folders.study({"made": ["made"]})
    content = json.loads((folders.root / "study.json").read_text())
    content["members"] *= 2
    (folders.root / "study.json").write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="member made: is listed twice"):
        read_study(folders.root)
