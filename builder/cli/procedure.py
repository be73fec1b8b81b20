"""`nestlab procedure`: what can be done to the hosts of a lab, done, undone and drilled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, complete_node, lab_id, running_lab
from builder.cli.output import columns, need_plain_file, output_option, show, span_text, terminal_width
from builder.errors import LabError, UsageError

if TYPE_CHECKING:
    from builder.procedures.drill import Drilled
    from builder.procedures.engine import Engine, Outcome
    from builder.procedures.guests import GuestKind


def complete_procedure(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    from builder.procedures import PROCEDURES

    return [click.shell_completion.CompletionItem(name) for name in PROCEDURES if name.startswith(incomplete)]


@click.command()
@output_option()
def ls(how: str) -> None:
    """List the procedures: what each does, and for which hosts (xl: plain Xen, xe: XCP-ng)."""
    from builder.procedures import PROCEDURES, load_procedure
    from builder.procedures.options import describe_options

    found = [load_procedure(name) for name in PROCEDURES]
    rows = [{"name": p.name, "title": p.title, "dialects": list(p.ways), "options": describe_options(p),
             "summary": p.summary, "drilled": not p.drill.reason} for p in found]  # fmt: skip
    show(rows, how, lambda: columns(
        ["procedure", "for", "what", "options"],
        [[p.name, " ".join(p.ways), p.title, " ".join(describe_options(p)) or "-"] for p in found], terminal_width(),
    ))  # fmt: skip


@click.command("show")
@click.argument("name", metavar="NAME", shell_complete=complete_procedure)
def show_(name: str) -> None:
    """Say what a procedure does: options, the commands in each dialect, refusals, undo, proof and sources."""
    from builder.procedures import load_procedure
    from builder.procedures.page import page

    click.echo(page(load_procedure(name)), nl=False)


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="NODE", shell_complete=complete_node)
@click.argument("name", metavar="NAME", shell_complete=complete_procedure)
@click.argument("options", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only look, and print the exact commands.")
@output_option()
@pass_app
def run(app: App, *, lab: str, node: str, name: str, options: tuple[str, ...], dry_run: bool, how: str) -> None:
    """Do procedure NAME on NODE, and see from outside that it took effect. A second run changes nothing and says so.

    What was before is kept on the host; `nestlab procedure undo` brings it back. Nothing is begun when there is a
    reason against it: all reasons are told at once.

    \b
    nestlab procedure run LAB dom0 dom0-memory size=1536MiB --dry-run
    """
    from builder.procedures import load_procedure
    from builder.procedures.options import parse_options, split_options

    procedure = load_procedure(name)
    asked = parse_options(procedure, split_options(options))
    with engine_of(app, lab) as engine:
        outcome = engine.run(node, procedure, asked, dry_run=dry_run)
    _show_outcome(outcome, how)


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="NODE", shell_complete=complete_node)
@click.argument("name", metavar="NAME", shell_complete=complete_procedure)
@click.argument("options", metavar="[KEY=VALUE]", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Only look, and print the exact commands.")
@output_option()
@pass_app
def undo(app: App, *, lab: str, node: str, name: str, options: tuple[str, ...], dry_run: bool, how: str) -> None:
    """Bring back what was before the first run of NAME on NODE, and see that it is back.

    KEY=VALUE says which, where a host can have several: guest=web.
    """
    from builder.procedures import load_procedure
    from builder.procedures.options import split_options

    procedure = load_procedure(name)
    given = split_options(options)
    unknown = sorted(set(given) - {procedure.subject})
    if unknown:
        takes = f"undo takes {procedure.subject}= only" if procedure.subject else f"undo of {name} takes no options"
        raise UsageError(f"{', '.join(unknown)}: {takes}")
    with engine_of(app, lab) as engine:
        outcome = engine.undo(node, procedure, given.get(procedure.subject, ""), dry_run=dry_run)
    _show_outcome(outcome, how)


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("words", metavar="[NAME]... [KEY=VALUE]...", nargs=-1, shell_complete=complete_procedure)
@click.option("--all", "every", is_flag=True, help="Every procedure that a lab can try.")
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="On this node only; may be given again.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the record, as JSON, to this file.")  # fmt: skip
@click.option("--guest", type=click.Choice(["pv", "pvh"]), default="pv", show_default=True,
              help="The guest that is made for those that need one; pvh where the host can (plain Xen).")  # fmt: skip
@output_option()
@pass_app
def drill(
    app: App, *, lab: str, words: tuple[str, ...], every: bool, nodes: tuple[str, ...], out: Path | None,
    guest: GuestKind, how: str,
) -> int:  # fmt: skip
    """Try procedures on the hosts of LAB: run, run again, restart, undo, each with its checks. The hosts must be ones
    that may be broken.

    A single procedure may be given options; without, it has those for drills that `show` names. Exits 1 when one of
    them failed. The record goes to procedures.json in the lab's state folder as well.
    """
    from builder.procedures import PROCEDURES, load_procedure
    from builder.procedures.options import parse_options, split_options

    names = tuple(word for word in words if "=" not in word)
    options = split_options([word for word in words if "=" in word])
    if options and len(names) != 1:
        raise UsageError("options are for a single procedure", hint="nestlab procedure drill LAB NAME KEY=VALUE...")
    if bool(names) == every:
        raise UsageError("name the procedures to try, or say --all", hint="nestlab procedure ls")
    chosen = [load_procedure(name) for name in (PROCEDURES if every else names)]
    for procedure in chosen if options else ():
        parse_options(procedure, options)
    if out is not None:
        need_plain_file(out)
    found: list[Drilled] = []
    broken: dict[str, str] = {}
    record = _record(lab, found)
    with engine_of(app, lab) as engine:
        for node in _these(nodes, node_names(app, lab)):
            try:
                for drilled in _drill_node(engine, node, chosen, options or None, every=every, guest=guest):
                    found.append(drilled)
                    record = _record(lab, found)
                    # At once: a host that breaks later takes nothing of it away.
                    for path in (app.places.lab(lab_id(lab)) / "procedures.json", *([out] if out else [])):
                        write_record(path, record)
            except LabError as error:
                if not every:
                    raise
                broken[node] = str(error)
    if not found and not broken:
        raise LabError("nothing was tried: no host of this lab takes these procedures", hint="nestlab procedure ls")
    show(record, how, lambda: drill_table(found))
    for node, why in broken.items():
        click.echo(f"{node}: given up: {why}", err=True)
    return 0 if not broken and all(each.ok for each in found) else 1


def _these(asked: Sequence[str], there: list[str]) -> list[str]:
    """The nodes to try it on, each once. Raises UsageError for one that is not there: not after hours of others."""
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise UsageError(f"the lab has no node {unknown[0]}", hint=f"it has {', '.join(there)}")
    return list(dict.fromkeys(asked)) or there


def _record(lab: str, found: list[Drilled]) -> dict[str, Any]:
    return {"v": 1, "date": datetime.now(UTC).isoformat(timespec="seconds"), "lab": lab_id(lab),
            "drills": [each.model_dump(mode="json") for each in found]}  # fmt: skip


def _drill_node(
    engine: Engine, node: str, chosen: list[Any], options: Mapping[str, str] | None, *, every: bool, guest: GuestKind
) -> Iterator[Drilled]:
    from builder.procedures.drill import drill as drill_one
    from builder.procedures.drill import lacks

    host = engine.world.host(node)
    dialect = host.facts().dialect
    for procedure in chosen:
        if every and (procedure.drill.reason or dialect not in procedure.ways):
            continue
        if every and (without := lacks(host, procedure, dialect)):
            click.echo(f"{node}: {procedure.name} is left out: {without.message}", err=True)
            continue
        drilled = drill_one(engine, node, procedure, options, guest=guest)
        yield drilled
        if every and not drilled.ok:
            host.run(["true"])  # raises where the host is gone: the others need not be waited for


def drill_table(found: list[Drilled]) -> str:
    """A row for each procedure and host, and what went wrong below."""
    table = columns(
        ["procedure", "release", "node", "applied", "run again", "restart", "undone", "time"],
        [[d.procedure, d.release, d.node, d.applied, d.repeated, d.survives, d.undone, span_text(d.seconds)]
         for d in found],
    )  # fmt: skip
    wrong = [f"\n{d.node}: {d.procedure}, {step.name}:\n{step.error}" for d in found for step in d.steps if step.error]
    return table + "".join(wrong)


def node_names(app: App, lab: str) -> list[str]:
    from builder.lifecycle.status import status

    return [node.name for node in status(lab_id(lab), app.places).nodes]


@contextmanager
def engine_of(app: App, lab: str) -> Iterator[Engine]:
    """The engine on a lab that is up, its steps told on stderr."""
    from builder.lifecycle.status import slower_by, status
    from builder.lifecycle.world import LabWorld
    from builder.procedures.engine import Engine

    name = running_lab(app.places, lab)
    now = status(name, app.places)

    def tell(kind: str, **what: Any) -> None:
        data = {key: value for key, value in what.items() if value is not None}
        if app.quiet:
            return
        where = f"{data.get('node')}: {data.get('step')}"
        if kind == "line" or (kind == "begin" and data.get("phase") == "act"):
            click.echo(f"{where}: {data.get('text')}", err=True)
        elif kind == "begin":
            click.echo(f"{where}: {data.get('phase')}", err=True)

    yield Engine(LabWorld(name, app.places), tell=tell, patience=slower_by(now))


def _show_outcome(outcome: Outcome, how: str) -> None:
    show(outcome.model_dump(mode="json"), how, lambda: outcome_text(outcome))


_SAID: Mapping[str, str] = {
    "planned": "would do",
    "unchanged": "is so already, nothing was changed",
    "applied": "done, and seen",
    "undone": "undone, and seen to be as before",
    "nothing": "was not applied here: nothing to undo",
}


def outcome_text(outcome: Outcome) -> str:
    """What people read: commands as they can be pasted, and what was seen."""
    said = "nothing would be done" if outcome.result == "planned" and not outcome.actions else _SAID[outcome.result]
    lines = [f"{outcome.node}: {outcome.procedure}: {said}"]
    lines += [f"advice: {text}" for text in outcome.advice]
    lines += [f"  {line}" for action in outcome.actions for line in action.splitlines()]
    lines += [f"  {'ok ' if each.ok else 'NO '} {each.what}: {each.seen}" for each in outcome.evidence]
    return "\n".join(lines)


def write_record(path: Path, record: Any) -> None:
    """As JSON. Raises LabError."""
    from builder.paths import write_atomic

    try:
        write_atomic(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}") from None
