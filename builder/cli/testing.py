"""`nestlab test`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import click

from builder.cli.frame import App, Terminated, pass_app
from builder.cli.labs import complete_lab, running_lab
from builder.errors import LabError, UsageError
from builder.paths import data_dir
from builder.run import die_with_parent

_PYTEST_USAGE, _PYTEST_NOTHING = 4, 5


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("arguments", metavar="[-- PYTEST ARGS]", nargs=-1, type=click.UNPROCESSED)
@pass_app
def test(app: App, lab: str, arguments: tuple[str, ...]) -> int:
    """Run the checks that the systems of LAB's nodes name, with pytest, on the lab that is up.

    JUnit XML goes to junit.xml in the lab's state folder; `-- --junitxml FILE` puts it elsewhere. Exits 1 when a check
    fails.

    \b
    nestlab test LAB -- -k storage
    """
    from builder.lifecycle.state import read_plan

    name = running_lab(app.places, lab)
    plan = read_plan(app.places, name)
    files = check_files([check for node in plan.nodes for check in node.system.checks])
    if not files:
        raise LabError(f"no system of lab {name} names a check", hint="pytest --nestlab runs checks of your own")
    junit = app.places.lab(name) / "junit.xml"
    status = _run([*pytest_argv(files, app.places.lab(name)), "--nestlab", name, *arguments])
    if not app.quiet and status in (0, 1):
        click.echo(f"JUnit: {junit}", err=True)
    if status == _PYTEST_USAGE:
        raise UsageError("pytest did not understand its arguments", hint="what follows -- is given to pytest as it is")
    if status == _PYTEST_NOTHING:
        raise LabError("pytest found no test to run", hint="look at the -k or -m that you gave")
    return 1 if status else 0


def pytest_argv(files: Sequence[Path], folder: Path) -> list[str]:
    """Pytest on these files, reporting into `folder`. Whatever configuration lies around the user's folder or our
    installation is not meant for them."""
    argv = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(files[0].parent)]
    argv += ["-o", f"cache_dir={folder / 'pytest-cache'}", "--junitxml", str(folder / "junit.xml"), "-ra"]
    if not entry_points(group="pytest11", name="nestlab"):
        # Run from a checkout: pytest cannot find the plugin by itself.
        argv += ["-p", "builder.pytest_plugin"]
    return [*argv, *map(str, files)]


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
    """Pytest in the foreground, with our terminal. Ctrl-C reaches it by itself; both ways of being stopped give it
    the time to report."""
    process = subprocess.Popen(argv, preexec_fn=die_with_parent)  # noqa: PLW1509 - one prctl, safe between fork and exec
    try:
        return process.wait()
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):
            process.send_signal(signal.SIGINT)
        process.wait()
        raise
