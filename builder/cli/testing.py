"""`nestlab test`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, lab_id
from builder.errors import LabError, UsageError
from builder.paths import data_dir

_PYTEST_INTERRUPTED, _PYTEST_USAGE, _PYTEST_NOTHING = 2, 4, 5


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("arguments", metavar="[-- PYTEST ARGS]", nargs=-1, type=click.UNPROCESSED)
@pass_app
def test(app: App, lab: str, arguments: tuple[str, ...]) -> int:
    """Run the checks that the systems of LAB's nodes name, with pytest, on the lab that is up.

    JUnit XML goes to junit.xml in the lab's state folder; `-- --junitxml FILE` puts it elsewhere. Exits 1 when a check
    fails.
    """
    from builder.lifecycle.state import read_plan

    name = lab_id(lab)
    plan = read_plan(app.places, name)
    files = check_files([check for node in plan.nodes for check in node.system.checks])
    if not files:
        raise LabError(f"no system of lab {name} names a check", hint="pytest --nestlab runs checks of your own")
    junit = app.places.lab(name) / "junit.xml"
    argv = [sys.executable, "-m", "pytest", *map(str, files), "--nestlab", name, "--junitxml", str(junit), *arguments]
    status = _run(argv)
    if not app.quiet and junit.exists():
        click.echo(f"JUnit: {junit}", err=True)
    if status == _PYTEST_USAGE:
        raise UsageError("pytest did not understand its arguments", hint="what follows -- is given to pytest as it is")
    if status == _PYTEST_NOTHING:
        raise LabError("pytest found no test to run", hint="look at the -k or -m that you gave")
    return 1 if status else 0


def check_files(names: Sequence[str]) -> list[Path]:
    """The files of labs/checks of these names, each once, in order. Raises LabError for one that is not there."""
    folder = data_dir("labs") / "checks"
    files = [folder / name for name in dict.fromkeys(names)]
    for file in files:
        if not file.exists():
            raise LabError(
                f"the check {file} is missing", hint="the installation is not complete: install nestlab again"
            )
    return files


def _run(argv: Sequence[str]) -> int:
    """Pytest in the foreground. On Ctrl-C it is given the time to report, then we end as interrupted too."""
    process = subprocess.Popen(argv, env={**os.environ})
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate() if not sys.stdin.isatty() else None
        process.wait()
        raise
