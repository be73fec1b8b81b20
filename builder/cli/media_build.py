"""`nestlab media build` and `undo`: a plan, and the sink that the options choose."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.labs import complete_lab
from builder.cli.media_edits import Asked, Job, edit_options, job
from builder.cli.media_local import ISO
from builder.cli.meter import meter
from builder.cli.output import bytes_text, columns, printable
from builder.errors import UsageError
from builder.media.author import write_volume
from builder.media.bill import cyclonedx, digest, injected
from builder.media.errors import MediaError
from builder.media.plan import GraftPlan, plan_edits
from builder.media.privacy import OWNER
from builder.media.sinks import apply_in_place, undo_in_place, write_file, write_qcow2, write_stream
from builder.media.sinks.file import check_target
from builder.paths import write_atomic

Format = Literal["raw", "qcow2"]
STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the medium goes: `out` is None for a change in place."""

    out: Path | None
    format: Format

    @property
    def is_stdout(self) -> bool:
        return self.out == STDOUT


@click.command()
@click.argument("target", nargs=-1, metavar="[LAB NODE]", shell_complete=complete_lab)
@click.option("--iso", type=ISO, metavar="FILE", help="The vendor's medium; with LAB NODE the one in the lab file.")
@click.option("-o", "--out", type=ISO, metavar="FILE", help="The new medium; '-' is standard output.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["raw", "qcow2"]),
    help="qcow2 is an overlay on the vendor's medium, kilobytes in size; without it the name's ending tells.",
)
@click.option("--in-place", is_flag=True, help="Change the vendor's medium itself; `media undo` takes it back.")
@edit_options
@click.option(
    "--md5",
    type=click.Choice(["remove", "remake"]),
    default="remove",
    help="The checksum inside it that a media check compares with: remaking reads the whole medium.",
)
@click.option(
    "--checksums", type=click.Choice(["update", "leave"]), default="update", help="The medium's own lists of checksums."
)
@click.option(
    "--volume",
    type=ISO,
    metavar="FILE",
    help="Where a node's second volume goes, if it needs one; without it beside the medium.",
)
@click.option("--sbom", type=ISO, metavar="FILE", help="Write what was put in as CycloneDX JSON; reads all twice.")
@click.option("--dry-run", is_flag=True, help="Only say what would be changed.")
@volume_options
@pass_app
def build(app: App, /, *, target: tuple[str, ...], iso: Path | None, out: Path | None, kind: Format | None,
          in_place: bool, md5: Any, checksums: Any, volume: Path | None, sbom: Path | None, dry_run: bool,
          **asked: Any) -> None:  # fmt: skip
    """Make a medium that installs by itself: the vendor's, with answers and boot arguments put in.

    With LAB NODE these come from the lab file, otherwise from the options; both can be used together.

    \b
    nestlab media build labs/xcp-ng-8.3.yaml host --iso xcp-ng.iso -o host.iso
    nestlab media build --iso el10.iso -o host.iso --answer ks.cfg --ssh-key ~/.ssh/id_ed25519.pub
    """
    goal = _goal(out, kind, in_place=in_place, dry_run=dry_run)
    made = job(app, target, iso, Asked(**asked))
    plan = plan_edits(made.iso, made.edits, md5=md5, checksums=checksums)
    if volume is not None and made.volume is None:
        raise UsageError("no second volume is needed", hint="leave --volume out")
    beside = None if made.volume is None else _beside(made, goal, volume)
    _check_targets(plan, goal, [path for path in (beside, sbom) if path is not None])
    say = _printer(app, err=goal.is_stdout)
    if not dry_run:
        bill = None if sbom is None else _bill(app, plan, goal)
        began = time.monotonic()
        how = _sink(app, plan, goal)
        say(f"{goal.out or made.iso}: {bytes_text(plan.size)} ({plan.size} bytes), {how}"
            f" in {time.monotonic() - began:.1f} s")  # fmt: skip
        if made.volume is not None and beside is not None:
            write_volume(made.volume, beside)
            say(f"{beside}: second volume {made.volume.label}, to be attached beside it")
        if sbom is not None:
            _put(sbom, json.dumps(bill, indent=2) + "\n")
    elif made.volume is not None:
        say(f"{beside}: second volume {made.volume.label} would hold {', '.join(sorted(made.volume.files))}")
    say(_changes(plan))
    for line in (*notes(made, plan), *_privacy(plan, goal)):
        click.echo(line, err=True)


@click.command()
@click.argument("iso", metavar="ISO", type=ISO)
@pass_app
def undo(app: App, iso: Path) -> None:
    """Give a medium that was changed in place its old content again, bit for bit."""
    restored = undo_in_place(iso)
    if not app.quiet:
        click.echo(f"{iso}: {restored} bytes put back")


def _goal(out: Path | None, kind: Format | None, *, in_place: bool, dry_run: bool) -> Goal:
    if in_place:
        if out is not None or kind is not None:
            raise click.UsageError("--in-place has no --out and no --format")
        return Goal(None, "raw")
    if out is None and not dry_run:
        raise click.UsageError("where to? Give --out FILE, --out - or --in-place")
    found: Format = kind or ("qcow2" if out is not None and out.suffix.lower() == ".qcow2" else "raw")
    if out == STDOUT and not dry_run:
        if found == "qcow2":
            raise click.UsageError("a qcow2 file cannot be streamed")
        if sys.stdout.isatty():
            raise UsageError("standard output is a terminal", hint="send it to a file or a program")
    return Goal(out, found)


def _check_targets(plan: GraftPlan, goal: Goal, more: list[Path]) -> None:
    """All that will be written, before anything is. Raises MediaError, UsageError for one file named twice."""
    out = [] if goal.out is None or goal.is_stdout else [goal.out]
    real = [check_target(plan, path) for path in (*out, *more)]
    if len(set(real)) != len(real):
        raise UsageError("two of the files to be written are one", hint="give each its own name")


def _sink(app: App, plan: GraftPlan, goal: Goal) -> str:
    """Do it; how it was done, in words."""
    if goal.out is None:
        done = apply_in_place(plan, durable=True)
        return f"changed in place ({done.written} bytes written; `nestlab media undo` takes it back)"
    if goal.is_stdout:
        with meter(app, "send") as tell:
            write_stream(plan, sys.stdout.fileno(), progress=tell)
        return "sent"
    if goal.format == "qcow2":
        return f"an overlay of {bytes_text(write_qcow2(plan, goal.out).written)} on the vendor's medium, made"
    with meter(app, "write") as tell:
        done = write_file(plan, goal.out, progress=tell)
    return "written" if done.how == "copy" else "written, sharing the vendor's blocks,"


def _beside(made: Job, goal: Goal, volume: Path | None) -> Path:
    if volume is not None:
        return volume
    if goal.is_stdout:
        raise UsageError("the node also needs a second volume", hint="say where it goes with --volume FILE")
    medium = goal.out or made.iso
    return medium.with_name(f"{medium.stem}-{made.volume.label.lower() if made.volume else ''}.iso")


def _bill(app: App, plan: GraftPlan, goal: Goal) -> dict[str, object]:
    """Made before anything is written: in place, the source is gone afterwards."""
    name = "" if goal.out is None or goal.is_stdout else goal.out.name
    with meter(app, "checksum") as tell:
        source = digest(plan.source.path, progress=tell)
    with meter(app, "checksum") as tell:
        output = digest(plan, name=name, progress=tell)
    files = injected(plan.source.path, plan, [item.path for item in plan.touched])
    return cyclonedx(source, output, files, when=datetime.now(UTC).isoformat(timespec="seconds"))


def _put(path: Path, text: str) -> None:
    try:
        write_atomic(path, text.encode(), mode=0o644)
    except OSError as error:
        raise MediaError(f"cannot write {path}: {error.strerror}", hint="check the folder") from None


def _printer(app: App, *, err: bool) -> Callable[[str], None]:
    def say(text: str) -> None:
        if text and not app.quiet:
            click.echo(text, err=err)

    return say


def _changes(plan: GraftPlan) -> str:
    if plan.is_noop:
        return "nothing is changed"
    return printable(columns(["file", "change", "size"], [[i.path, i.how, i.size] for i in plan.touched]))


def _privacy(plan: GraftPlan, goal: Goal) -> list[str]:
    """Told because a server or a hypervisor of another user may be meant to read it."""
    if plan.mode != OWNER:
        return []
    if goal.is_stdout:
        return ["note: it holds what others must not read: see that they cannot"]
    return ["note: it holds what others must not read, so its permissions keep them out"]


def notes(made: Job, plan: GraftPlan) -> list[str]:
    """What the user should know of a medium besides what was changed."""
    out = [f"warning: {remark}" for remark in made.remarks]
    out += [f"note: {note}" for note in plan.notes]
    out += [f"warning: {path} is signed, so its checksums stay as they were and are now wrong" for path in plan.stale]
    if made.fetched:
        names = ", ".join(sorted(made.fetched))
        out.append(f"note: the installer fetches {names} over the network: `nestlab media serve` has them")
    return [printable(line) for line in out]
