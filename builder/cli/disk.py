"""`nestlab disk`: disks of a lab that is up, pulled, plugged in again and put in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab
from builder.cli.onlab import NODE, OnLab, tell, world_of
from builder.cli.output import bytes_text, columns, output_option, show

if TYPE_CHECKING:
    from builder.model.runtime import DiskStatus


@click.group(cls=OnLab, invoke_without_command=True)
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@output_option()
@click.pass_context
def disk(ctx: click.Context, lab: str, how: str) -> None:
    """Show the disks of LAB's nodes: whether they are plugged in, and in which place from the next power-on.

    \b
    nestlab disk LAB pull NODE disk1
    """
    if ctx.invoked_subcommand is None:
        disks = world_of(ctx).disks()
        show([each.model_dump(mode="json") for each in disks], how, lambda: _table(disks),
             empty=f"{lab} has no disks")  # fmt: skip


@disk.command(short_help="Pull a disk out of a running node.")
@NODE
@click.argument("name", metavar="DISK")
@pass_app
@click.pass_context
def pull(ctx: click.Context, app: App, node: str, name: str) -> None:
    """Pull DISK out of the running NODE, without its leave. What is on it stays."""
    changed = world_of(ctx).pull_disk(node, name)
    tell(app, f"{node}: {name} is out", changed=changed)


@disk.command(short_help="Plug it in again.")
@NODE
@click.argument("name", metavar="DISK")
@pass_app
@click.pass_context
def insert(ctx: click.Context, app: App, node: str, name: str) -> None:
    """Plug the same DISK into NODE again, in its old place. The firmware tries to start from it last, until the next
    power-on.

    Controllers such as LSI's tell nobody; Linux looks for it when told:
    nestlab exec LAB NODE -- sh -c 'for host in /sys/class/scsi_host/*; do echo - - - >$host/scan; done'
    """
    changed = world_of(ctx).insert_disk(node, name)
    tell(app, f"{node}: {name} is in", changed=changed)


@disk.command(short_help="Have the disks come in another order.")
@NODE
@click.argument("names", metavar="DISK...", nargs=-1, required=True)
@click.option("--now", is_flag=True, help="Pull NODE's plug and power it on again.")
@pass_app
@click.pass_context
def order(ctx: click.Context, app: App, node: str, names: tuple[str, ...], now: bool) -> None:
    """Plug NODE's disks in in this order from its next power-on, as after somebody has mixed up the cables.

    All of them are named, and the one that the node starts from stays the first. A power-on is `--now`, or `nestlab up`
    once the node has powered off; a reboot is none.
    """
    world = world_of(ctx)
    changed = world.order_disks(node, names)
    tell(app, f"{node}: its disks come as {' '.join(names)}", changed=changed)
    if now:
        world.power_cycle(node)
        tell(app, f"{node} was powered on again")


def _table(disks: tuple[DiskStatus, ...]) -> str:
    if not disks:
        return ""
    rows = [
        [each.node, each.name, each.bus, bytes_text(each.size),
         "off" if not each.running else "in" if each.plugged else "out", each.place]
        for each in disks
    ]  # fmt: skip
    return columns(["node", "disk", "bus", "size", "state", "place"], rows)
