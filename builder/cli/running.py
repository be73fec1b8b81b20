"""Verbs that start, stop and list labs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.labs import complete_lab, lab_id, load_lab, planned, running_lab, up_names
from builder.cli.meter import meter
from builder.cli.options import connect_option, far_uri, mirror_option, templates_option, there_option
from builder.cli.output import columns, left_text, output_option, show
from builder.cli.progress import listening
from builder.errors import LabError, UsageError
from builder.lifecycle.state import read_owner
from builder.model.lab import ImageSource
from builder.model.runtime import LabStatus
from builder.paths import is_locked
from builder.run import process_start_time

# How long `up` waits, after it was stopped, for the keeper to take down what it had started.
_SETTLE = 60


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.option("-j", "--jobs", type=click.IntRange(0, 256), default=0, help="Steps at once; 0: as many as cores.")
@click.option("--timeout-scale", type=click.FloatRange(0, 1000, min_open=True), default=1.0, metavar="FACTOR",
              help="Multiply every timeout.")  # fmt: skip
@click.option("--recreate", multiple=True, metavar="NODE", help="Destroy a running node and make it anew.")
@click.option("--reinstall", multiple=True, metavar="NODE",
              help="Install a node anew from its medium, though there is an image of it.")  # fmt: skip
@click.option("--keep-failed", is_flag=True, help="Leave a lab that did not come up, to be looked at.")
@connect_option
@mirror_option
@templates_option
@output_option("jsonl")
@volume_options
@pass_app
def up(
    app: App, *, lab: str, jobs: int, timeout_scale: float, recreate: tuple[str, ...], reinstall: tuple[str, ...],
    keep_failed: bool, connect: str | None, mirror: str | None, templates: Path | None, how: str,
) -> None:  # fmt: skip
    """Bring LAB up and return when every node is ready.

    On a lab that is up: unchanged, nothing happens; new or stopped nodes are started; a node whose description has
    changed is refused unless named with --recreate. Ctrl-C before it is ready takes everything down again.
    `-o jsonl` prints the events on stdout as they come.

    A node with `source: medium` is installed from a copy of its medium that holds the answers and takes no room; the
    medium itself is only read. Once installed, its disks become an image (`nestlab image ls`), of which the next `up`
    makes a clone: until the medium, the answers or the machine change, or --reinstall NODE. Where the medium is, says
    the lab file, or a variable such as NESTLAB_ISO_XCPNG_8_3.
    """
    from builder.lifecycle.isos import find_media
    from builder.lifecycle.up import UpOptions
    from builder.lifecycle.up import up as bring_up

    elsewhere = far_uri(connect) is not None
    loaded = load_lab(app, lab, limits=not elsewhere)
    unknown = sorted({*recreate, *reinstall} - {node.name for node in loaded.nodes})
    if unknown:
        raise UsageError(
            f"lab {loaded.name} has no node {', '.join(unknown)}",
            hint="--recreate and --reinstall take names of its nodes",
        )
    ready = [node.name for node in loaded.nodes if node.name in reinstall and isinstance(node.source, ImageSource)]
    if ready:
        raise UsageError(f"{', '.join(ready)}: there is no medium to install it from", hint="--recreate NODE")
    options = UpOptions(
        connect=connect,
        jobs=jobs,
        timeout_scale=timeout_scale,
        recreate=tuple(dict.fromkeys((*recreate, *reinstall))),
        reinstall=reinstall,
        keep_failed=keep_failed,
        mirror=mirror,
    )
    plan = planned(loaded, templates)  # what is refused is refused before media are looked for and read
    with meter(app, "checksum") as tell:
        found, remarks = find_media(loaded, app.places, app.environ, progress=tell)
    for remark in remarks:
        click.echo(f"warning: {remark}", err=True)
    if found != loaded:
        plan = planned(found, templates)
    was_up = is_locked(app.places.lab(loaded.name) / "lock")
    with listening(app, how) as listener:
        try:
            done = bring_up(plan, app.places, options=options, listener=listener)
        except BaseException as error:
            if not was_up and not (keep_failed and isinstance(error, LabError)):
                _wait_until_gone(app, loaded.name)
            raise
    if how != "jsonl":
        show(done.model_dump(mode="json"), how, lambda: status_table(done))


def _wait_until_gone(app: App, name: str) -> None:
    """The keeper takes down what did not come up, on its own; the prompt returns when it has done so. One that was
    killed holds its lock no more, and does nothing."""
    lock = app.places.lab(name) / "lock"
    keeper = read_owner(lock)
    deadline = time.monotonic() + _SETTLE
    while time.monotonic() < deadline:
        lives = keeper is not None and process_start_time(keeper.pid) == keeper.started
        if not lives and not is_locked(lock):
            return
        time.sleep(0.05)


@click.command()
@click.argument("labs", metavar="LAB...", shell_complete=complete_lab, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every lab of this user.")
@output_option("jsonl")
@volume_options
@pass_app
def down(app: App, labs: tuple[str, ...], everything: bool, how: str) -> None:
    """Take LAB down: guests, processes, ports and files. Fine on a lab that is not up, or whose file is broken."""
    from builder.lifecycle.down import down as take_down

    if everything == bool(labs):
        raise click.UsageError("name the labs, or say --all")
    results = []
    names = up_names(app.places) if everything else list(dict.fromkeys(lab_id(lab) for lab in labs))
    for name in names:
        with listening(app, how) as listener:
            was_up = take_down(name, app.places, listener=listener)
        results.append({"lab": name, "was_up": was_up})
    if how in ("json", "yaml"):
        show(results, how, str)
    elif how == "table" and not app.quiet:
        for result in results:
            click.echo(f"{result['lab']} {'is down' if result['was_up'] else 'was not up'}", err=True)


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@output_option()
@pass_app
def status(app: App, lab: str, how: str) -> None:
    """Show the nodes of LAB, their state, and how to reach them."""
    from builder.lifecycle.status import status as ask_status

    found = ask_status(running_lab(app.places, lab), app.places)
    show(found.model_dump(mode="json"), how, lambda: status_table(found))


@click.command()
@output_option("name")
@pass_app
def ls(app: App, how: str) -> None:
    """List the labs that are up, with those that a killed keeper left behind (state `dead`)."""
    from builder.lifecycle.status import list_labs

    labs = list_labs(app.places)
    if how == "name":
        for lab in labs:
            click.echo(lab.lab)
        return
    show([lab.model_dump(mode="json") for lab in labs], how, lambda: _labs_table(labs),
         empty="" if app.quiet else "no lab is up")  # fmt: skip


@click.command()
@there_option
@output_option()
@pass_app
def reap(app: App, connect: str | None, how: str) -> None:
    """Take down every lab whose keeper is gone, and what killed proofs of media left.

    Labs that run are never touched; expired ones end by themselves. With --connect what such labs left on that machine
    is removed: of this user's that are gone here too, and of anybody's whose time is up.
    """
    from builder.lifecycle.down import reap as take_away
    from builder.lifecycle.media_proof_machine import reap_proofs

    uri = far_uri(connect)
    if uri is None:
        names = [*take_away(app.places), *reap_proofs(app.places)]
    else:
        from builder.lifecycle.far import visiting

        with visiting(uri, app.places) as far:
            names = list(far.reap(app.places))
    show(names, how, lambda: "\n".join(names), empty="" if app.quiet else "nothing was left behind")


def status_table(found: LabStatus) -> str:
    """The lab in a line, its nodes in columns, and the command to get in."""
    runs_on = {"kvm": ", on KVM", "tcg": ", on emulation (TCG)", None: ""}[found.accelerator]
    ends = f", ends {left_text(found.expires_at)}" if found.expires_at else ""
    head = f"lab {found.lab}: {found.state}{runs_on}{ends}"
    rows = [
        [node.name, f"{node.system} {node.release}", node.state,
         f"{node.ssh.user}@{node.ssh.host}:{node.ssh.port}" if node.ssh else "-",
         node.cause or node.phase or "-"]
        for node in found.nodes
    ]  # fmt: skip
    parts = [head, columns(["node", "system", "state", "ssh", "phase"], rows)]
    ready = [node.name for node in found.nodes if node.state == "ready"]
    if ready:
        parts.append(f"enter it: nestlab ssh {shlex.quote(found.lab)} {ready[0]}")
    return "\n".join(parts)


def _labs_table(labs: Sequence[LabStatus]) -> str:
    if not labs:
        return ""
    rows = []
    for lab in labs:
        ready = sum(node.state == "ready" for node in lab.nodes)
        rows.append(
            [lab.lab, lab.state, f"{ready}/{len(lab.nodes)}", lab.accelerator or "-", left_text(lab.expires_at)]
        )
    return columns(["lab", "state", "ready", "runs on", "ends"], rows)
