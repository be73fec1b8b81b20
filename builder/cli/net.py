"""`nestlab net`: the networks of a lab that is up, and what is done to them from outside the hosts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab
from builder.cli.onlab import NODE, OnLab, Share, Span, tell, world_of
from builder.cli.output import bytes_text, columns, need_plain_file, output_option, show
from builder.errors import LabError
from builder.paths import atomic_file

if TYPE_CHECKING:
    from builder.model.runtime import PortStatus

NETWORK = click.argument("network", metavar="NETWORK")


@click.group(cls=OnLab, invoke_without_command=True)
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@output_option()
@click.pass_context
def net(ctx: click.Context, lab: str, how: str) -> None:
    """Show the networks of LAB: every lab card, the state of its link and port, and the port's counters.

    The management card is not among them: it is how nestlab reaches the node. All that the commands do is undone by
    their opposite and by the node's next power-on; doing it twice is fine.

    \b
    nestlab net labs/two-tiny.yaml link a lan down
    nestlab net labs/two-tiny.yaml shape a lan --delay 20ms --loss 1%
    """
    if ctx.invoked_subcommand is None:
        ports = world_of(ctx).ports()
        show([port.model_dump(mode="json") for port in ports], how, lambda: _table(ports),
             empty=f"{lab} has no networks")  # fmt: skip


@net.command(short_help="Take a link down, or bring it up.")
@NODE
@NETWORK
@click.argument("state", type=click.Choice(["up", "down"]), metavar="up|down")
@pass_app
@click.pass_context
def link(ctx: click.Context, app: App, node: str, network: str, state: str) -> None:
    """Take the link of NODE's cards on NETWORK down, or bring it up: the host sees its carrier go."""
    changed = world_of(ctx).set_link(node, network, up=state == "up")
    tell(app, f"{node}: its link on {network} is {state}", changed=changed)


@net.command(short_help="Lose all frames of a node on a network.")
@NODE
@NETWORK
@pass_app
@click.pass_context
def cut(ctx: click.Context, app: App, node: str, network: str) -> None:
    """Lose all frames between NODE and NETWORK. The host's link stays up, as with a switch further away."""
    changed = world_of(ctx).cut_path(node, network)
    tell(app, f"{node}: its path to {network} is cut", changed=changed)


@net.command()
@NODE
@NETWORK
@pass_app
@click.pass_context
def join(ctx: click.Context, app: App, node: str, network: str) -> None:
    """Undo `cut`."""
    changed = world_of(ctx).cut_path(node, network, cut=False)
    tell(app, f"{node}: its path to {network} is whole", changed=changed)


@net.command(short_help="Hold frames back, and lose some.")
@NODE
@NETWORK
@click.option("--delay", type=Span(), default="0ms", metavar="SPAN", help="Of each frame, each way: 20ms, 1.5s.")
@click.option("--loss", type=Share(), default="0%", metavar="SHARE", help="Of the frames, each way: 1%.")
@click.option("--reset", is_flag=True, help="Neither delay nor loss.")
@pass_app
@click.pass_context
def shape(ctx: click.Context, app: App, *, node: str, network: str, delay: float, loss: float, reset: bool) -> None:
    """Hold back every frame between NODE and NETWORK, and lose a part of them. A round trip is late by twice the delay.

    Both are set anew by each call; what is not said is none.
    """
    if reset == bool(delay or loss):
        raise click.UsageError("say --delay, --loss or both, or --reset")
    changed = world_of(ctx).shape(node, network, delay_ms=delay, loss=loss)
    said = "is as new" if reset else f"has {_shape_text(delay, loss)}"
    tell(app, f"{node}: its path to {network} {said}", changed=changed)


@net.command(short_help="Record a network as a pcap file.")
@NETWORK
@click.option("--seconds", type=click.FloatRange(0, 3600, min_open=True), default=3600, metavar="N",
              help="How long; Ctrl-C ends it earlier.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(dir_okay=False), required=True, metavar="FILE",
              help="The pcap file; - for stdout.")  # fmt: skip
@pass_app
@click.pass_context
def capture(ctx: click.Context, app: App, network: str, seconds: float, out: str) -> None:
    """Record the frames of NETWORK as a pcap file, as they enter the switch.

    Frames of access ports carry the tag of their VLAN. The file is there when the capture has ended; Ctrl-C ends it
    well. On stdout frames come as they pass: nestlab net LAB capture lan -o - | tcpdump -nr -
    """
    with _pcap(out) as write:
        counted = world_of(ctx).capture_to(network, seconds=seconds, receiver=write)
    if counted["missed"]:
        click.echo(f"warning: {counted['missed']} frames came too fast and are missing", err=True)
    if not app.quiet:
        click.echo(f"{counted['frames']} frames", err=True)


@contextlib.contextmanager
def _pcap(out: str) -> Iterator[Callable[[bytes], object]]:
    """Where pieces go. A file appears under its name when it is whole, and not at all after an error."""
    if out == "-":
        yield _to_stdout
        return
    need_plain_file(Path(out))
    try:
        with atomic_file(Path(out)) as file:
            yield file.write
    except OSError as error:
        raise LabError(f"{out} cannot be written: {error.strerror}", hint="name another file") from None


def _to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _table(ports: tuple[PortStatus, ...]) -> str:
    if not ports:
        return ""
    rows = []
    for port in sorted(ports, key=lambda port: port.network):
        counters = port.counters
        dropped = sum(count for reason, count in counters.items() if not reason.startswith(("rx", "tx")))
        state = "off" if not port.running else "down" if not port.link else "cut" if port.cut else "up"
        rows.append([
            port.network, port.mtu, port.node, port.card, port.mac, _vlan_text(port), state,
            _shape_text(port.delay_ms, port.loss) or "-", bytes_text(counters.get("rx_bytes", 0)),
            bytes_text(counters.get("tx_bytes", 0)), dropped,
        ])  # fmt: skip
    header = ["network", "mtu", "node", "card", "mac", "vlan", "state", "shape", "from node", "to node", "dropped"]
    return columns(header, rows)


def _vlan_text(port: PortStatus) -> str:
    if port.vlan is not None:
        return str(port.vlan)
    return f"trunk {','.join(map(str, port.trunk))}" if port.trunk else "-"


def _shape_text(delay_ms: float, loss: float) -> str:
    """Such as `20ms, 1% lost`; empty for a port that does neither."""
    parts = [f"{delay_ms:g}ms"] if delay_ms else []
    return ", ".join([*parts, *([f"{loss * 100:g}% lost"] if loss else [])])
