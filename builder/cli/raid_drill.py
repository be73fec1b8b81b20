"""`nestlab drill raid`: the arrays of a host, one disk after the other lost and built up again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, complete_node, running_lab
from builder.cli.output import columns, need_plain_file, output_option, show, span_text
from builder.cli.procedure import write_record

if TYPE_CHECKING:
    from builder.procedures.raid_drill import RaidDrill


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="NODE", shell_complete=complete_node)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the record, as JSON, to this file.")  # fmt: skip
@output_option()
@pass_app
def raid(app: App, *, lab: str, node: str, out: Path | None, how: str) -> int:
    """Pull each disk of NODE's arrays in turn, start NODE without it, plug it in again, and have the arrays built up.

    Each time the host starts from another disk, so that in the end the boot sectors of all of them have worked. The
    kernel compares all copies last. Exits 1 when something failed: the drill ends there. NODE must be a host that may
    be broken. The record goes to raid-drill.json in the lab's state folder as well.
    """
    from builder.lifecycle.status import slower_by, status
    from builder.lifecycle.world import LabWorld
    from builder.procedures.raid_drill import drill_raid

    if out is not None:
        need_plain_file(out)
    name = running_lab(app.places, lab)
    now = status(name, app.places)
    world = LabWorld(name, app.places)
    world.host(node)  # raises for a node that is not there
    log = next(each.console_log for each in now.nodes if each.name == node)

    def tell(kind: str, **what: Any) -> None:
        if kind == "begin" and not app.quiet:
            click.echo(f"{what['node']}: {what['step']}: {what['phase']}", err=True)

    done = drill_raid(world, node, tell=tell, patience=slower_by(now), console=new_lines(Path(log)))
    record = {"v": 1, "date": datetime.now(UTC).isoformat(timespec="seconds"), "lab": name,
              "ok": done.ok, "drill": done.model_dump(mode="json")}  # fmt: skip
    for path in (app.places.lab(name) / "raid-drill.json", *([out] if out else [])):
        write_record(path, record)
    show(record, how, lambda: drill_text(done))
    return 0 if done.ok else 1


def new_lines(log: Path) -> Callable[[], str]:
    """A reader of a console's log: what came since it was last asked."""
    read = log.stat().st_size if log.exists() else 0

    def new() -> str:
        nonlocal read
        with log.open("rb") as file:
            file.seek(read)
            data = file.read()
        read += len(data)
        return data.decode("utf-8", "replace")

    return new


def drill_text(done: RaidDrill) -> str:
    """A row for each disk, and below what went wrong."""
    from builder.procedures.raid_drill import STEPS

    def cell(steps: dict[str, Any], name: str) -> str:
        return "-" if name not in steps else span_text(steps[name].seconds) if steps[name].ok else "FAILED"

    rows = []
    for disk in done.disks:
        steps = {step.name: step for step in disk.steps}
        rows.append([disk.disk, disk.started_from or "-", *(cell(steps, name) for name in STEPS)])
    table = columns(["disk", "started from", *STEPS], rows)
    arrays = ", ".join(f"{name} ({level})" for name, level in done.arrays.items())
    ends = [*(step for disk in done.disks for step in disk.steps), *([done.check] if done.check else [])]
    wrong = "".join(f"\n{step.name}: {step.error}" for step in ends if step.error)
    result = "every disk was lost and built up, and all copies are the same" if done.ok else "FAILED"
    return f"{done.node}: {arrays}\n{table}{wrong}\n{result}, in {span_text(done.seconds)}"
