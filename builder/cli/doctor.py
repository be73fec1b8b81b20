"""`nestlab doctor`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from builder.cli.frame import App, pass_app, volume_options, wants_color
from builder.cli.labs import complete_lab, load_lab, planned
from builder.cli.options import connect_option, mirror_option
from builder.cli.output import columns, output_option, show
from builder.lifecycle.doctor import Row, examine, lacks

LACKING = 3
_COLOR = {"ok": "green", "warn": "yellow", "missing": "red", "unknown": "cyan"}
_INSTALL = "apt-get install --no-install-recommends "


@click.command()
@click.argument("lab", metavar="[LAB]", required=False, shell_complete=complete_lab)
@click.option("--probe/--no-probe", default=True, help="Prove KVM by booting a guest; cached until the next reboot.")
@connect_option
@mirror_option
@output_option()
@volume_options
@pass_app
def doctor(app: App, lab: str | None, probe: bool, connect: str | None, mirror: str | None, how: str) -> int:
    """Check this host, for LAB or for any lab, with the exact fix for each finding. Exits 3 when something is missing.

    With --quiet only findings are listed. Memory and disk are those that LAB takes; what building images needs is
    checked only when one of LAB's images is not in the cache.
    """
    loaded = load_lab(app, lab, limits=False) if lab else None
    if loaded is not None:
        planned(loaded)
    rows = examine(loaded, app.places, connect=connect, mirror=mirror, probe=probe)
    shown = [row for row in rows if row.status != "ok"] if app.quiet else rows
    color = wants_color(app.environ, stream_is_tty=sys.stdout.isatty())
    show([asdict(row) for row in shown], how, lambda: _table(shown, color))
    if how == "table" and (line := one_line(rows)):
        click.echo(f"\nAll packages at once:\n  {line}", err=True)
    if how == "table" and not app.quiet:
        click.echo(f"\n{conclusion(rows, lab)}", err=True)
    return LACKING if lacks(rows) else 0


def conclusion(rows: tuple[Row, ...], lab: str | None) -> str:
    """What it comes to, and what to do next."""
    if missing := lacks(rows):
        return f"missing: {', '.join(row.name for row in missing)}"
    return f"nothing is missing; next: nestlab up {shlex.quote(lab) if lab else 'LAB'}"


def one_line(rows: Sequence[Row]) -> str:
    """The apt lines of several rows as one, or nothing when there are fewer than two."""
    lines = [line for row in rows if row.status != "ok" for line in row.fix.splitlines() if _INSTALL in line]
    if len(lines) < 2:
        return ""
    packages = dict.fromkeys(word for line in lines for word in shlex.split(line.partition(_INSTALL)[2]))
    return lines[0].partition(_INSTALL)[0] + _INSTALL + " ".join(packages)


def _table(rows: Sequence[Row], color: bool) -> str:
    lines = columns(["status", "check", "seen"], [[row.status, row.name, row.seen] for row in rows]).splitlines()
    out = lines[:1]
    for row, line in zip(rows, lines[1:], strict=True):
        out.append(click.style(row.status, fg=_COLOR[row.status]) + line[len(row.status) :] if color else line)
        if row.status != "ok":
            out.append(f"         why: {row.why}")
            out += [f"         fix: {fix}" for fix in row.fix.splitlines()]
    return "\n".join(out)
