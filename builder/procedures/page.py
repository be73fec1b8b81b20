"""What people read of a procedure: made from the procedure itself, so that it cannot say anything else than is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.procedures.api import DIALECTS, Options, Procedure, Reboot, steps
from builder.procedures.options import parse_options, show_default


def page(procedure: Procedure, proofs: Sequence[Mapping[str, Any]] = ()) -> str:
    """Markdown. `proofs` are records of drills, newest last; one for each release is shown."""
    return "\n".join([*_page(procedure, proofs)]) + "\n"


def index(procedures: Sequence[Procedure], proofs: Sequence[Mapping[str, Any]] = ()) -> str:
    """Markdown that lists the pages, which lie beside it."""
    lines = [
        "# Host procedures\n",
        "What `nestlab procedure` does to the hosts of a lab. Each sees its effect from outside, changes nothing when",
        "it is run again, and can be undone. These pages are made from the procedures themselves.\n",
        "| Procedure | What | Plain Xen | XCP-ng | Drilled on real Xen |\n| --- | --- | --- | --- | --- |",
    ]
    for each in procedures:
        ways = ["yes" if dialect in each.ways else "" for dialect in DIALECTS]
        fine = [f"{row['release']} ({row['date'][:10]})" for row in proofs
                if row["procedure"] == each.name and row["undone"] == "yes" and "no" not in _verdicts(row)]  # fmt: skip
        lines.append(
            f"| [{each.name}]({each.name}.md) | {each.title} | {' | '.join(ways)} | {', '.join(fine) or 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _verdicts(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (row["applied"], row["repeated"], row["survives"], row["undone"])


def _page(procedure: Procedure, proofs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"# {procedure.title} (`{procedure.name}`)"
    yield f"\n{procedure.summary}"
    yield "\n## Options\n"
    yield from _options(procedure)
    yield "\n## What is done\n"
    yield "Commands for a host such as often found, and these options: " + (_given(procedure) or "none") + "."
    asked = parse_options(procedure, procedure.drill.options)
    for dialect, way in procedure.ways.items():
        actions = way.actions(way.sample, asked)
        yield f"\n### {DIALECTS[dialect]}\n\n```text"
        yield from steps(actions) or ["nothing: it is only looked at"]
        yield "```"
        if not way.lasting:
            yield "\nA restart of the host ends the effect."
    yield "\nWhat was before is kept on the host first, and `nestlab procedure undo` brings it back. A second run"
    yield "changes nothing. With a reason against it nothing is begun, and all reasons are told at once."
    yield "\n## Refused when\n"
    yield from (f"- {when} (`{code}`)" for code, when in procedure.refuses.items())
    restarts = not procedure.stops_guests and _restarts(procedure, asked)
    if not procedure.refuses and not restarts and not procedure.bound:
        yield "Never: it takes nothing away, and can be done at any time."
    if restarts:
        yield "- the host has to restart for it, and guests run (`guests-run`)"
    if procedure.bound:
        told = ", ".join(f"`{name}=`" for name in procedure.bound)
        yield f"- it is applied already with another {told}: undone first (`applied-otherwise`)"
    yield from _dead(procedure)
    yield "\n## Proof\n"
    yield from _proofs(procedure, proofs)
    yield "\n## Sources\n"
    yield from (f"- {source}" for source in procedure.sources)


def _restarts(procedure: Procedure, asked: Options) -> bool:
    return any(isinstance(each, Reboot) for way in procedure.ways.values() for each in way.actions(way.sample, asked))


def _options(procedure: Procedure) -> Iterator[str]:
    fields = procedure.options.model_fields
    if not fields:
        yield "None."
        return
    yield "| Option | Default | What it is |\n| --- | --- | --- |"
    for name, field in fields.items():
        default = field.get_default()
        shown = (
            "must be given"
            if field.is_required()
            else f"`{show_default(default)}`"
            if default not in (None, ())
            else ""
        )
        yield f"| `{name}` | {shown} | {field.description} |"


def _given(procedure: Procedure) -> str:
    return ", ".join(f"`{key}={value}`" for key, value in procedure.drill.options.items())


def _dead(procedure: Procedure) -> Iterator[str]:
    if not procedure.dead:
        return
    yield "\n## What older documents say\n\n| They say | Today |\n| --- | --- |"
    for row in procedure.dead:
        yield f"| {_cell(row.says)} | {_cell(row.why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _proofs(procedure: Procedure, proofs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    latest = {(row["release"], row["dialect"]): row for row in proofs if row["procedure"] == procedure.name}
    if not latest:
        yield f"Not drilled{': ' + procedure.drill.reason if procedure.drill.reason else ' yet'}."
        return
    yield "| Host | Date | Applied | Run again | Restart | Undone | Seconds |"
    yield "| --- " * 7 + "|"
    for row in latest.values():
        cells = [row["release"], row["date"][:10], *_verdicts(row)]
        yield f"| {' | '.join(cells)} | {row['seconds']:.0f} |"
    seen = {each["what"]: each["seen"] for row in latest.values() for step in row["steps"] for each in step["evidence"]
            if step["name"] == "run"}  # fmt: skip
    yield "\nSeen after it was applied:\n"
    yield from (f"- {what}: {text}" for what, text in seen.items())
