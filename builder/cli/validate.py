"""`nestlab validate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, existing, load_file
from builder.cli.options import templates_option
from builder.cli.output import output_option, show
from builder.errors import LabError, LabFileError, Problem, UsageError

if TYPE_CHECKING:
    from builder.model.lab import Lab

_BAD_FILE = 2


@click.command()
@click.argument("labs", metavar="LAB...", shell_complete=complete_lab, nargs=-1, required=True)
@click.option("--limits/--no-limits", default=True, help="Judge by what this host has, too.")
@templates_option
@output_option()
@pass_app
def validate(app: App, labs: tuple[str, ...], limits: bool, templates: Path | None, how: str) -> int:
    """Read lab files and report every problem at once, each with its place, its code and what to do. Exits 2 when
    there is one."""
    results = [_read(app, path, limits, templates) for path in labs]
    show(results, how, lambda: "\n".join(_line(result) for result in results if result["ok"] and not app.quiet))
    if how == "table":
        for result in results:
            if not result["ok"]:
                click.echo(result["text"], err=True)
            elif not app.quiet:
                for note in result["notes"]:
                    click.echo(_note(result["file"], note), err=True)
    return 0 if all(result["ok"] for result in results) else _BAD_FILE


def _read(app: App, text: str, limits: bool, templates: Path | None) -> dict[str, Any]:
    try:
        loaded = load_file(app, existing(text), limits=limits)
    except LabFileError as error:
        return _bad(text, error, error.problems)
    except UsageError as error:
        missing = [Problem("lab-file", error.message, error.hint or "")]
        return _bad(text, LabFileError(text, missing), missing)
    wrong, said = _of_installers(loaded.lab, templates)
    if wrong:
        return _bad(text, LabFileError(text, wrong), wrong)
    nodes = [node.name for node in loaded.lab.nodes]
    noted = [_plain(note) for note in (*loaded.notes, *said)]
    return {"file": text, "ok": True, "lab": loaded.lab.name, "nodes": nodes, "problems": [], "notes": noted}


def _of_installers(lab: Lab, templates: Path | None) -> tuple[list[Problem], list[Problem]]:
    """Problems and notes of hosts that install themselves: their answers are made and judged. Ready images are not
    rendered here: nothing of the lab file can make them wrong, and it takes time."""
    from builder.systems import loader, traits

    rows, load_system = traits(), loader(templates)
    wrong, said = [], []
    for node in lab.nodes:
        if rows[node.system].install is None or node.source.kind == "image":
            continue
        path = ("nodes", node.name)
        try:
            findings = load_system(node.system).plan(node).findings
        except LabError as error:
            wrong.append(Problem("lab-answers", error.message, error.hint or "", path))
            continue
        said += [Problem(each.code, f"{node.name}: {each.message}", each.hint, path) for each in findings]
    return wrong, said


def _bad(text: str, error: LabError, problems: Sequence[Problem]) -> dict[str, Any]:
    return {"file": text, "ok": False, "problems": [_plain(problem) for problem in problems], "text": str(error)}


def _plain(problem: Problem) -> dict[str, Any]:
    return asdict(problem) | {"path": list(problem.path)}


def _note(file: str, note: dict[str, Any]) -> str:
    place = f"{file}:{note['line']}:{note['column']}" if note["line"] else file
    return f"{place}: note: {note['message']} [{note['code']}]\n  hint: {note['hint']}"


def _line(result: dict[str, Any]) -> str:
    count = len(result["nodes"])
    return f"{Path(result['file'])}: ok, lab {result['lab']}, {count} node{'' if count == 1 else 's'}"
