"""Run folders written by hand with numpy and xarray, from the schema in docs/files.md alone."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

REFUSAL = "no distribution over x: exp(-reconstruction error) does not sum to one, and its codes have no prior"


class Folders:
    """Writes run and study folders under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def config(self, path: str, program: str = "MADE", **changes: Any) -> Path:
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": 1,
            "recipe": program.lower(),
            "recipe_arguments": {},
            "program": program,
            "latents": ["z"] if program == "VAE" else [],
            "guide": "DiagonalNormal" if program == "VAE" else None,
            "guide_source": None,
            "guide_arguments": {},
            "objective": "nll",
            "objective_arguments": {},
            "data": "digits",
            "data_digest": "sha256:aaaa",
            "shape": [1, 8, 8],
            "levels": 2,
            "data_dim": 64,
            "seed": 0,
            "training": {"epochs": 40, "batch_size": 100},
            "num_parameters": {"program": 52264, "guide": 18432 if program == "VAE" else 0},
            "versions": {"python": "3.11.7", "torch": "2.13.0", "pyro": "1.9.2"},
            "commit": "a1b2c3d",
        }
        if program == "Autoencoder":
            config["refusal"] = REFUSAL
        (folder / "config.json").write_text(json.dumps(config | changes))
        return folder

    def evidence(
        self,
        path: str,
        estimators: dict[str, tuple[str, Any]],
        file: str = "evidence.nc",
        images: Any = None,
        tolerance: float = np.nan,
        stderr: float = np.nan,
        **attributes: Any,
    ) -> Path:
        """``estimators``: name to (claim, values per image or a reason)."""
        rows = list(estimators.values())
        n = max([np.size(v) for c, v in rows if c != "none"], default=len(images or [0] * 4))
        empty = np.full(n, np.nan)
        nats = [empty if c == "none" else np.asarray(v, dtype=float) for c, v in rows]
        errors = [np.full(n, stderr if c == "LOWER_BOUND" else np.nan) for c, _ in rows]
        rng = np.random.default_rng(5)
        iw = [name.startswith("iw") for name in estimators]
        k = [rng.normal(0.45, 0.15, n) if flag else empty for flag in iw]
        numbers = [int(name.partition(":")[2] or 0) for name in estimators]
        shape = ("estimator", "image")
        dataset = xr.Dataset(
            {
                "log_evidence": (shape, np.array(nats)),
                "stderr": (shape, np.array(errors)),
                "ess": (shape, np.array([empty] * len(rows))),
                "pareto_k": (shape, np.array(k)),
                "seconds": ("estimator", np.ones(len(rows))),
            },
            coords={
                "estimator": list(estimators),
                "claim": ("estimator", [c for c, _ in rows]),
                "num_particles": ("estimator", numbers),
                "tolerance": (
                    "estimator",
                    [tolerance if c == "NUMERICAL" else np.nan for c, _ in rows],
                ),
                "reason": ("estimator", [str(v) if c == "none" else "" for c, v in rows]),
                "image": np.arange(n) if images is None else np.asarray(images),
            },
            attrs={
                "units": "nats",
                "measure": "mass",
                "levels": 2,
                "program": "MADE",
                "guide": "",
                "data": "digits",
                "data_digest": "sha256:aaaa",
                "split": "test",
                "seed": 0,
            }
            | attributes,
        )
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(folder / file, engine="h5netcdf")
        return folder / file

    def run(self, path: str, program: str, estimators: dict, seed: int = 0, **options: Any) -> Path:
        """A complete run folder with every file but the checkpoint."""
        folder = self.config(path, program, seed=seed)
        guide = "DiagonalNormal" if program == "VAE" else ""
        self.evidence(path, estimators, program=program, guide=guide, seed=seed, **options)
        self.history(path, program)
        (folder / "structure.json").write_text(json.dumps(structure(program)))
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        digit = stroke_images(rng, 64)
        attrs = {"height": 8, "width": 8, "channels": 1, "levels": 2, "program": program, "seed": seed}
        attrs |= {"method": "sequential", "seconds": 0.12}
        if program != "Autoencoder":
            samples = xr.Dataset({"x": (("sample", "pixel"), digit)}, attrs=attrs)
            samples.to_netcdf(folder / "samples.nc", engine="h5netcdf")
        if program in ("VAE", "Autoencoder"):
            blurred = 0.8 * digit[:16] + 0.1 + 0.1 * rng.random((16, 64))
            dims = ("image", "pixel")
            pairs = {"x": (dims, digit[:16]), "reconstruction": (dims, blurred)}
            images = xr.Dataset(pairs, coords={"image": np.arange(16)}, attrs=attrs)
            images.to_netcdf(folder / "reconstructions.nc", engine="h5netcdf")
        if program == "VAE":
            self.latents(path, latents=16)
        return folder

    def latents(self, path: str, draws: int = 200, images: int = 3, latents: int = 4) -> Path:
        """``latents.nc``: guide draws whose mean is the number of the latent."""
        rng = np.random.default_rng(3)
        z = np.arange(latents) + 0.3 * rng.normal(size=(1, draws, images, latents))
        dims = ("chain", "draw", "image", "latent")
        coords = {"chain": [0], "draw": np.arange(draws), "image": np.arange(images) + 7}
        weights = xr.Dataset({"log_weight": (dims[:3], rng.normal(size=z.shape[:3]))}, coords=coords)
        tree = xr.DataTree.from_dict(
            {"posterior": xr.Dataset({"z": (dims, z)}, coords=coords), "sample_stats": weights}
        )
        file = self.root / path / "latents.nc"
        tree.to_netcdf(file, engine="h5netcdf")
        return file

    def history(self, path: str, program: str, epochs: int = 40) -> None:
        claim = {"MADE": "EXACT", "VAE": "LOWER_BOUND", "Autoencoder": "none"}[program]
        name = {"MADE": "NegativeLogLikelihood", "VAE": "NegativeElbo", "Autoencoder": "ReconstructionError"}
        lines = []
        for epoch in range(1, epochs + 1):
            level = 17.5 + 20 * np.exp(-epoch / 5) + 0.003 * max(0, epoch - 25)
            key = "valid_score" if claim == "none" else "valid_log_evidence"
            record = {"epoch": epoch, "updates": 13 * epoch, "seconds": 0.41, "train_loss": level - 0.4}
            record |= {"train_loss_name": name[program], key: -level, "valid_claim": claim}
            record |= {"valid_estimator": {"EXACT": "exact", "LOWER_BOUND": "elbo:1"}.get(claim, "")}
            lines.append(json.dumps(record | {"best": epoch <= 25, "images_per_second": 3163.0}))
        (self.root / path / "history.jsonl").write_text("\n".join(lines) + "\n")

    def study(self, members: dict[str, list[str]], roles: dict[str, str] | None = None) -> Path:
        content = {
            "format": 1,
            "study": "compare",
            "question": "Which program gives unseen digits the higher log p(x), and what may be said about it?",
            "data": "digits",
            "budget": "quick",
            "members": [
                {"name": name, "runs": runs, "role": (roles or {}).get(name, "model")} for name, runs in members.items()
            ],
            "seeds": [0, 1, 2],
            "seconds": 171.2,
            "commit": "a1b2c3d",
            "command": "python -m inference.study compare --data digits --out runs/compare",
        }
        (self.root / "study.json").write_text(json.dumps(content))
        return self.root


def stroke_images(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 64) binary images with a ring or a bar, so that a grid can be looked at."""
    y, x = np.mgrid[0:8, 0:8]
    rings = np.abs(np.hypot(x - 3.5, y - 3.5)[None] - rng.uniform(1.5, 3, (n, 1, 1))) < 0.7
    bars = np.abs(x - rng.uniform(2, 5, (n, 1, 1)) - 0.2 * (y - 4)) < 0.8
    images = np.where(rng.random((n, 1, 1)) < 0.5, rings, bars)
    return images.reshape(n, 64).astype(float)


def layer(path: str, kind: str, size_in: int, size_out: int) -> dict:
    count = size_out * (size_in + 1) if "Linear" in kind else 0
    return {"path": path, "type": kind, "input": [size_in], "output": [size_out], "parameters": count}


def site(name: str, distribution: str, size: int, parents: list[str], observed: bool) -> dict:
    return {
        "name": name,
        "distribution": distribution,
        "shape": [size],
        "plates": ["image"],
        "parents": parents,
        "observed": observed,
    }


def structure(program: str) -> dict:
    """What `inference.train` would write for the three programs of the comparison."""
    if program == "MADE":
        sites = [site("x", "Autoregressive", 64, [], True)]
        layers = [
            layer("net.0", "MaskedLinear", 64, 400),
            layer("net.1", "ReLU", 400, 400),
            layer("net.2", "MaskedLinear", 400, 64),
        ]
        generation = {"kind": "autoregressive", "passes": 64, "ordering": list(range(64))}
        return {"program": {"name": "MADE", "sites": sites, "layers": layers}, "guide": None, "generation": generation}
    encoder = [layer("encoder.0", "Linear", 64, 200), layer("encoder.1", "ReLU", 200, 200)]
    decoder = [layer("decoder.0", "Linear", 16, 200), layer("decoder.1", "ReLU", 200, 200)]
    decoder.append(layer("decoder.2", "Linear", 200, 64))
    if program == "Autoencoder":
        layers = [*encoder, layer("encoder.2", "Linear", 200, 16), *decoder]
        generation = {"kind": "none", "passes": 0, "ordering": []}
        return {"program": {"name": program, "sites": [], "layers": layers}, "guide": None, "generation": generation}
    sites = [site("z", "Normal", 16, [], False), site("x", "Bernoulli", 64, ["z"], True)]
    guide_sites = [site("z", "Normal", 16, ["x"], False)]
    guide = {"name": "DiagonalNormal", "sites": guide_sites}
    guide["layers"] = [*encoder, layer("encoder.2", "Linear", 200, 32)]
    generation = {"kind": "ancestral", "passes": 1, "ordering": []}
    return {"program": {"name": "VAE", "sites": sites, "layers": decoder}, "guide": guide, "generation": generation}


def comparison(folders: Folders, seeds: int = 3, images: int = 250) -> Path:
    """The study of the issue: exact, bounds, a refusal and a baseline, with effects that are put in by hand."""
    rng = np.random.default_rng(0)
    difficulty = rng.gamma(9, 1.9, images)
    members: dict[str, list[str]] = {"made": [], "vae": [], "autoencoder": [], "independent_pixels": []}
    for seed in range(seeds):
        made = -difficulty - 0.2 + rng.normal(0, 0.4, images) + 0.05 * seed
        vae = -difficulty - 0.4 + rng.normal(0, 0.9, images) + 0.04 * seed
        bounds = {
            "elbo:64": ("LOWER_BOUND", vae - rng.gamma(2, 0.5, images)),
            "iw:5000": ("LOWER_BOUND", vae),
        }
        folders.run(f"made/seed-{seed}", "MADE", {"exact": ("EXACT", made)}, seed=seed)
        folders.run(f"vae/seed-{seed}", "VAE", bounds, seed=seed, stderr=0.03)
        refused = {"exact": ("none", REFUSAL)}
        folders.run(f"autoencoder/seed-{seed}", "Autoencoder", refused, seed=seed, images=list(range(images)))
        for name in ("made", "vae", "autoencoder"):
            members[name].append(f"{name}/seed-{seed}")
    independent = -difficulty - 8 + rng.normal(0, 1.5, images)
    folders.run("independent_pixels/seed-0", "MADE", {"exact": ("EXACT", np.minimum(independent, -1))})
    members["independent_pixels"].append("independent_pixels/seed-0")
    return folders.study(members, {"independent_pixels": "baseline"})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture(scope="session")
def make_comparison(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Puts the comparison into any folder; each size is written once and then copied."""
    written: dict[tuple[int, int], Path] = {}

    def build(root: Path, seeds: int = 3, images: int = 250) -> Path:
        if (seeds, images) not in written:
            written[seeds, images] = comparison(Folders(tmp_path_factory.mktemp("template")), seeds, images)
        shutil.copytree(written[seeds, images], root, dirs_exist_ok=True)
        return root

    return build


@pytest.fixture
def compare_study(make_comparison: Callable[..., Path], tmp_path: Path) -> Path:
    return make_comparison(tmp_path)


@pytest.fixture(scope="session")
def make_evidence() -> Callable[..., Any]:
    """Evidence in memory: estimator name to (claim, values)."""
    from analysis.claims import Claim
    from analysis.evidence import Evidence, Values

    def build(estimators: dict[str, tuple[str, Any]], tolerance: float = np.nan, **changes: Any) -> Evidence:
        rows = []
        for name, (claim, nats) in estimators.items():
            nats = np.asarray(nats, dtype=float)
            empty = np.full(nats.shape, np.nan)
            number = int(name.partition(":")[2] or 0)
            rows.append(Values(name, Claim(claim), nats, empty, empty, number, tolerance, ""))
        fields = {"images": np.arange(rows[0].nats.size), "measure": "mass", "levels": 2, "data": "digits"}
        fields |= {"data_digest": "sha256:aaaa", "split": "test", "program": "P", "guide": "", "seed": 0}
        return Evidence(values=tuple(rows), **(fields | changes))

    return build


@pytest.fixture(scope="session")
def verdict_on(make_evidence: Callable[..., Any]) -> Callable[..., Any]:
    """The verdict on one pair of runs, A and B, given as for ``make_evidence``."""
    from analysis.contenders import Contender
    from analysis.verdicts import Pair, judge

    def build(a: dict, b: dict, sandwiches: tuple = (), a_options: dict | None = None, **b_options: Any) -> Any:
        left = Contender("A", (make_evidence(a, **(a_options or {})),))
        right = Contender("B", (make_evidence(b, **b_options),), sandwiches)
        verdicts, refused = judge([Pair("runs", left, right)])
        return verdicts[0] if verdicts else refused[0][1]

    return build
