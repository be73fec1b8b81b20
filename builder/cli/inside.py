"""Verbs that get into a node: ssh, exec, console. They read the lab's state and never open libvirt."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, complete_node, lab_id, one_node, running_lab
from builder.errors import LabError, MissingTool
from builder.model.runtime import NodeStatus, SshTarget


class GuestCommand(click.Command):
    """A command line whose end is the guest's: all after `--`, or, without one, all after the node's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else None
        ctx.allow_interspersed_args = at is not None
        rest = super().parse_args(ctx, args[:at])
        if at is not None:
            if ctx.params["command"]:
                raise click.UsageError(f"what is {' '.join(ctx.params['command'])!r} before the --?", ctx)
            ctx.params["command"] = tuple(args[at + 1 :])
        return rest


@click.command(cls=GuestCommand)
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="[NODE]", shell_complete=complete_node, required=False)
@click.argument("command", metavar="[-- CMD...]", nargs=-1, type=click.UNPROCESSED)
@pass_app
def ssh(app: App, lab: str, node: str | None, command: tuple[str, ...]) -> None:
    """Open a shell on NODE, or on the only node of LAB. The exit status is the guest's, 255 when ssh failed."""
    target = _target(app, running_lab(app.places, lab), node)
    _become_ssh(target, command, tty=sys.stdin.isatty() and not command)


@click.command(cls=GuestCommand)
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="NODE", shell_complete=complete_node)
@click.argument("command", metavar="-- CMD...", nargs=-1, type=click.UNPROCESSED)
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@pass_app
def execute(app: App, lab: str, node: str, command: tuple[str, ...], tty: bool) -> None:
    """Run CMD on NODE, each word as given here (no second round of quoting). Input and output are the command's.

    The exit status is the guest's; 255 means that it was never reached.

    \b
    nestlab exec LAB dom0 -- xl list
    nestlab exec LAB dom0 -- sh -c 'dmesg | tail'
    """
    if not command:
        raise click.UsageError("no command was given; `nestlab ssh` opens a shell")
    _become_ssh(_target(app, running_lab(app.places, lab), node), command, tty=tty)


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.argument("node", metavar="[NODE]", shell_complete=complete_node, required=False)
@click.option("--log", is_flag=True, help="Print what the console said so far, and end.")
@pass_app
def console(app: App, lab: str, node: str | None, log: bool) -> None:
    """Attach to the serial console of NODE, or of the only node of LAB; Ctrl-] leaves.

    What it said before is shown first. On a node that has stopped, or of a lab that did not come up, the log is
    printed.
    """
    from builder.drivers.console import attach

    name = lab_id(lab)
    failed = _failure_log(app, name, node)
    if failed is not None:
        click.echo(f"lab {name} is not up: this is the console of its last failure", err=True)
        _print_log(failed)
        return
    running_lab(app.places, lab)
    found = _node(app, name, one_node(app, name, node))
    if log or found.console_socket is None or not Path(found.console_socket).exists():
        _print_log(Path(found.console_log))
        return
    attach(found.console_socket, Path(found.console_log))


def _failure_log(app: App, lab: str, node: str | None) -> Path | None:
    """The console log that a lab left when it did not come up; None for a lab that is up, or that left none."""
    if app.places.lab(lab).is_dir():
        return None
    logs = sorted((app.places.state / "failures" / lab / "nodes").glob(f"{node or '*'}/console.log"))
    return logs[0] if logs else None


def _node(app: App, lab: str, node: str) -> NodeStatus:
    from builder.lifecycle.state import read_status

    found = read_status(app.places, lab)
    for entry in found.nodes if found else ():
        if entry.name == node:
            return entry
    raise LabError(f"{node} of lab {lab} was not started yet", hint=f"nestlab status {lab}")


def _target(app: App, lab: str, node: str | None) -> SshTarget:
    name = one_node(app, lab, node)
    found = _node(app, lab, name)
    if found.ssh is None or found.state != "ready":
        raise LabError(
            f"{name} of lab {lab} is {found.state}", hint=f"nestlab status {lab}; nestlab console {lab} {name}"
        )
    return found.ssh


def _become_ssh(target: SshTarget, command: Sequence[str], *, tty: bool) -> None:
    """Replace this process, so that terminal, signals and exit status are ssh's own."""
    from builder.drivers.ssh import ssh_argv

    argv = ssh_argv(target, command, tty=tty)
    if shutil.which(argv[0]) is None:
        raise MissingTool(argv[0], why="reach the nodes", package="openssh-client")
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted


def _print_log(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    except FileNotFoundError:
        raise LabError(f"{path} is not there: the node has never been started") from None
    sys.stdout.buffer.flush()
