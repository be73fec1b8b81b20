"""`nestlab collect`: one folder for a report, or as what a pipeline keeps of a failed job."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, lab_id
from builder.cli.output import output_option, show

if TYPE_CHECKING:
    from builder.lifecycle.collect import Collected


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder to make, instead of LAB-TIME here.")  # fmt: skip
@output_option()
@pass_app
def collect(app: App, *, lab: str, out: Path | None, how: str) -> None:
    """Put all that tells how LAB fares into one folder, and print its path.

    Of a lab that is up: plan, timeline, results of checks, consoles and domain definitions, and of each host that
    answers its logs, its disks, networks and boot arguments, and what Xen and its tools say. Of a lab that did not come
    up: what its failure left. Nothing is changed on the hosts. The folder is its owner's alone; look through it before
    you hand it on, for logs may hold anything.
    """
    from builder.lifecycle.collect import collect as gather

    name = lab_id(lab)
    done = gather(
        name, app.places, out or Path(f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"),
        tell=lambda node: None if app.quiet else click.echo(f"{node}: asked", err=True),
    )  # fmt: skip
    for node, why in done.silent.items():
        click.echo(f"{node}: not asked: {why}", err=True)
    show(record_of(done), how, lambda: str(done.folder))


def record_of(done: Collected) -> dict[str, object]:
    """For programs. Files are paths below the folder."""
    return {"lab": done.lab, "folder": str(done.folder), "files": list(done.files), "silent": dict(done.silent)}
