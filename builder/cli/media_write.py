"""`nestlab media write`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.media_build import notes
from builder.cli.media_edits import Asked, by_hand, edit_options, job
from builder.cli.media_local import ISO
from builder.cli.meter import meter
from builder.cli.output import bytes_text, printable
from builder.errors import UsageError
from builder.media.plan import plan_edits
from builder.media.sinks.device import Disk, check, check_apart, look_at, write_device


@click.command()
@click.argument("iso", metavar="ISO", type=ISO)
@click.argument("device", metavar="DEVICE", type=ISO)
@click.option("--for", "target", nargs=2, metavar="LAB NODE", default=None, help="Make it this node's medium.")
@click.option("--again", type=ISO, metavar="DEVICE", help="DEVICE once more, for a disk that cannot be pulled out.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is nobody to answer.")
@edit_options
@volume_options
@pass_app
def write(app: App, /, *, iso: Path, device: Path, target: tuple[str, str] | None, again: Path | None, yes: bool,
          **asked: Any) -> None:  # fmt: skip
    """Write a medium to a USB disk, and read it back. All that is on the disk is lost.

    ISO is changed on its way as the options say. A disk that is mounted or otherwise in use is never written.

    \b
    nestlab media write host.iso /dev/sdX
    nestlab media write xcp-ng.iso /dev/sdX --for labs/xcp-ng-8.3.yaml host
    """
    given = Asked(**asked)
    made = by_hand(iso, given) if target is None else job(app, tuple(target), iso, given)
    plan = plan_edits(made.iso, made.edits)
    disk = look_at(device)
    check(disk, plan.size, again)
    check_apart(disk, plan)
    said = f"{bytes_text(plan.size)} of {made.iso}"
    click.echo(f"{describe(disk)} gets {said}; what is on it is lost", err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is here to say yes", hint="give --yes, if this is the right disk")
        click.confirm("Write it?", abort=True, err=True)
    with meter(app, "write and verify") as tell:
        done_before = {"write": 0, "verify": plan.size}
        write_device(
            plan, disk, again=again, progress=lambda step, done, size: tell(done_before[step] + done, 2 * size)
        )
    if not app.quiet:
        click.echo(f"{disk.path}: {plan.size} bytes written and read back")
    for line in notes(made, plan):
        click.echo(line, err=True)


def describe(disk: Disk) -> str:
    """A disk as its owner knows it."""
    kind = "removable" if disk.removable else "NOT removable"
    return printable(f"{disk.path} ({disk.model or 'no model'}, {bytes_text(disk.size)}, {kind})")
