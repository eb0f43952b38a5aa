"""What is installed is what works: requirements, the wheel, and the shipped shelf in it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from studio.paths import bundled
from studio.weights.shelf import Shelf

ROOT = Path(__file__).parents[1]


def test_requirements_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted((ROOT / "requirements.txt").read_text().splitlines()) == sorted(project["dependencies"])


def test_the_readme_has_the_front_matter_of_a_space() -> None:
    front = (ROOT / "README.md").read_text().split("---")[1]
    for key in ("title:", "sdk: gradio", "sdk_version:", "app_file: app.py", "license:"):
        assert key in front


def test_the_wheel_holds_every_shipped_model(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    tops = {path.name for path in (tmp_path / "installed").iterdir()}
    assert not {"models", "assets", "tests"} & tops
    inside = tmp_path / "installed" / "studio" / "_bundled"
    assert (inside / "assets" / "studio.css").is_file()
    shipped = Shelf(bundled("models"), tmp_path / "none").list()
    wrapped = Shelf(inside / "models", tmp_path / "none").list()
    assert [entry.card for entry in wrapped] == [entry.card for entry in shipped]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from studio.paths import bundled; from studio.weights.store import load_generator\n"
        "assert '_bundled' in str(bundled('models'))\n"
        "for folder in sorted(p for p in bundled('models').iterdir() if p.is_dir()): print(load_generator(folder)[1].id)\n"
    )
    opened = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "installed")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert opened.stdout.split() == sorted(entry.id for entry in shipped)


def test_every_shipped_model_is_small_and_tells_what_it_is() -> None:
    assert sum(file.stat().st_size for file in bundled("models").rglob("*")) <= 100 << 20
    for entry in Shelf(bundled("models"), Path("/nowhere")).list():
        assert not entry.problem and entry.card is not None and entry.preview is not None
        assert entry.card.licence and entry.card.trained_on and entry.card.command
        assert (entry.folder / "model.safetensors").stat().st_size <= 20 << 20
