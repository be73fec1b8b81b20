"""The wheel alone: built offline, installed in a fresh environment, used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.repo import ROOT, project_files, some

pytestmark = pytest.mark.integration

SHIPPED = ("builder", "answerfiles", "kickstarts", "labs")
DATA = {"answerfiles", "kickstarts", "labs"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel. Its dependencies are those of this environment, seen by a .pth file, because
    the test is about our own files and must not need the network."""
    folder = tmp_path_factory.mktemp("fresh") / "a venv"
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*/site-packages"))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(ours) + "\n")
    subprocess.run(
        [str(folder / "bin/python"), "-m", "pip", "install", "--no-index", "--no-deps", "--ignore-installed",
         "--force-reinstall", "--quiet", str(wheel)],
        check=True, capture_output=True, timeout=120, env=clean_environment(folder),
    )  # fmt: skip
    return folder


def clean_environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NESTLAB_", "PYTHON", "PIP_", "VIRTUAL_ENV"))}
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    return kept | {"HOME": str(home), "PYTHONNOUSERSITE": "1"}


def nestlab(installed: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(installed / "bin/nestlab"), *map(str, arguments)],
        cwd=installed.parent, env=clean_environment(installed), check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def packaged(installed: Path) -> Path:
    """The package as the fresh environment finds it, which must not be this clone."""
    code = "import builder; print(builder.__path__[0])"
    found = subprocess.run(
        [str(installed / "bin/python"), "-c", code],
        cwd=installed.parent, env=clean_environment(installed), check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert Path(found).is_relative_to(installed), found
    return Path(found)


def test_every_shipped_file_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        ("builder/_data/" if path.parts[0] in DATA else "") + path.as_posix()
        for path in (found.relative_to(ROOT) for found in project_files())
        if path.parts[0] in SHIPPED
    }
    assert {"builder/_data/labs/debian-dom0.yaml", "builder/py.typed"} <= expected
    assert sorted(expected - names) == []


def test_nothing_else_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"builder", next(top for top in tops if top.endswith(".dist-info"))}
    assert [name for name in names if name.endswith((".pyc", ".orig", "~"))] == []
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_two_builds_are_the_same(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_programs_stay_executable(installed: Path) -> None:
    """diskimage-builder runs only those files of an element that may be executed."""
    elements = ROOT / "builder/images/elements"
    executable = [
        path.relative_to(ROOT / "builder")
        for path in elements.rglob("*")
        if path.is_file() and os.access(path, os.X_OK)
    ]
    package = packaged(installed)
    assert executable
    assert [str(path) for path in executable if not os.access(package / path, os.X_OK)] == []


def test_the_command_runs(installed: Path) -> None:
    done = nestlab(installed, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nestlab ")


def test_the_packaged_labs_are_valid(installed: Path) -> None:
    labs = some(sorted((packaged(installed) / "_data/labs").glob("*.yaml")))
    done = nestlab(installed, "validate", "--no-limits", "-o", "json", *labs)
    assert done.returncode == 0, done.stderr
    assert [row["ok"] for row in json.loads(done.stdout)] == [True] * len(labs)


def test_a_packaged_lab_renders_as_in_the_clone(installed: Path, tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, tuple[int, str]]:
        files = some(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_text()) for path in files}

    lab = packaged(installed) / "_data/labs/debian-dom0.yaml"
    done = nestlab(installed, "render", lab, "--out", tmp_path / "wheel")
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [sys.executable, "-m", "builder", "render", "labs/debian-dom0.yaml", "--out", str(tmp_path / "clone")],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    assert contents(tmp_path / "wheel") == contents(tmp_path / "clone")
    assert "dom0/domain.xml" in contents(tmp_path / "wheel")


def test_an_editable_install_is_one_line(tmp_path: Path) -> None:
    """Nothing is copied, so that what runs is always what lies in the clone."""
    code = "import sys; from hatchling.build import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(built)
    files = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert files == ["_nestlab.pth"]
    assert archive.read(files[0]).decode().strip() == str(ROOT)
