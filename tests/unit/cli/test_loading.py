"""What a verb imports and how much CPU it takes: the command must feel instant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = {"click", "jinja2", "libvirt", "lxml", "pycdlib", "pydantic", "pytest", "rich", "testinfra", "yaml"}
LAB = str(ROOT / "labs/debian-dom0.yaml")

_LIST = """
import os, sys
from builder.cli.boundary import guarded
out = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
status = guarded(sys.argv[1:])
sys.stdout.flush()
os.dup2(out, 1)
print(status, *sorted({name.partition(".")[0] for name in sys.modules}))
"""

_LIBRARIES = "import click, yaml; from pydantic import BaseModel"


def loaded(*arguments: str) -> tuple[int, set[str]]:
    """The exit status, and the heavy packages that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST, *arguments],
        cwd=ROOT,
        env=os.environ | {"NESTLAB_DEBIAN_MIRROR": "http://m.example/"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    status, *names = done.stdout.split()
    return int(status), set(names) & HEAVY


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (["--help"], {"click"}),
        (["--version"], {"click"}),
        (["completion", "bash"], {"click"}),
        (["image", "--help"], {"click"}),
        (["validate", LAB], {"click", "pydantic", "yaml"}),
        (["schema"], {"click", "pydantic", "yaml"}),
        (["systems"], {"click", "pydantic", "yaml"}),
        (["plan", LAB], {"click", "pydantic", "yaml", "jinja2"}),
        (["render", LAB], {"click", "pydantic", "yaml", "jinja2"}),
        (["ls"], {"click", "pydantic"}),
        (["procedure", "ls"], {"click", "pydantic"}),
        (["procedure", "show", "raid-storage"], {"click", "pydantic"}),
        (["down", "nothing"], {"click", "pydantic"}),
    ],
    ids=lambda value: " ".join(value[:2])[-20:] if isinstance(value, list) else "",
)
def test_a_verb_imports_no_more_than_it_needs(arguments: list[str], allowed: set[str]) -> None:
    status, found = loaded(*arguments)
    assert status == 0
    assert found <= allowed


def cpu_seconds(*arguments: str) -> float:
    """The processor's time of one run of Python."""
    pid = os.posix_spawn(
        sys.executable, [sys.executable, *arguments], {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )  # fmt: skip
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(("arguments", "limit"), [(["--help"], 1), (["validate", LAB], 3)], ids=["help", "validate"])
def test_cpu_time(arguments: list[str], limit: float) -> None:
    """Measured in the time that importing the libraries takes (0.1 s on a quiet machine), the one right after the
    other; the first of fifteen pairs that is below the limit is enough."""
    for _ in range(15):
        ours, libraries = cpu_seconds("-m", "builder", *arguments), cpu_seconds("-c", _LIBRARIES)
        if (ratio := ours / libraries) < limit:
            break
    assert ratio < limit
