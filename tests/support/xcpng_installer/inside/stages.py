"""Scripts of the three stages: fetched, looked at by their first line, run; what they return is logged and no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .tools import Tools

READ = 40
"""Characters of the first line that are looked at."""
_ALONE = ("/bin/sh", "/bin/bash", "/usr/bin/python")


def interpreter_problem(first_line: str, name: str) -> str:
    """Why the installer would not run it; empty when it would."""
    line = first_line[:READ]
    if not line.startswith("#!"):
        return f"Missing interpreter in {name}."
    words = line[2:].split()
    if not words or words[0] == "/usr/bin/env":
        good, said = words[1:2] == ["python"], [*words, "", ""][1]
    else:
        good, said = words[0] in _ALONE, words[0]
    return "" if good else f"Invalid interpreter {said} in {name}."


class Stages:
    """The scripts by stage. `folder` keeps them, as the real one does for its report."""

    def __init__(self, tools: Tools, folder: Path) -> None:
        self._tools = tools
        self._folder = folder
        self.scripts: Mapping[str, Sequence[str]] = {}

    def run(self, stage: str, *arguments: str) -> None:
        for number, address in enumerate(self.scripts.get(stage, ())):
            self.script(address, stage, number, *arguments)

    def script(self, address: str, stage: str, number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Raises RuntimeError when it cannot be fetched or names no known interpreter; never for what it returns."""
        self._tools.log(f"Running script for stage {stage}: {address} {' '.join(arguments)}")
        self._folder.mkdir(parents=True, exist_ok=True)
        local = self._folder / f"{stage}-{number}"
        try:
            self._tools.fetch(address, local)
        except (OSError, RuntimeError):
            raise RuntimeError(f"Unable to fetch script {address}") from None
        problem = interpreter_problem(local.read_text(errors="replace").split("\n", 1)[0], address)
        if problem:
            raise RuntimeError(problem)
        local.chmod(0o500)
        done = subprocess.run(
            [str(local), *arguments], env={**os.environ, "XS_STAGE": stage}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        self._tools.log(f"Script returned {done.returncode}")
        for line in (done.stdout + done.stderr).splitlines():
            self._tools.log(f"  {line}")
        return done
