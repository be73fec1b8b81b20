"""`nestlab media serve`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.labs import complete_lab, load_lab
from builder.cli.media_build import notes
from builder.cli.media_edits import Asked, Job, by_hand, edit_options, for_node, node_names
from builder.cli.media_local import ISO
from builder.cli.output import bytes_text, columns, printable
from builder.errors import UsageError
from builder.media.author import author
from builder.media.plan import GraftPlan, plan_edits
from builder.media.sinks.http import ImageServer, Request


@click.command()
@click.argument("target", nargs=-1, metavar="[LAB [NODE]]", shell_complete=complete_lab)
@click.option("--iso", type=ISO, metavar="FILE", help="The vendor's medium; with LAB the ones in the lab file.")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, metavar="PORT", help="0 takes a free one.")
@edit_options
@volume_options
@pass_app
def serve(app: App, /, *, target: tuple[str, ...], iso: Path | None, host: str, port: int, **asked: Any) -> None:
    """Serve media over HTTP, a different one for each node of LAB, all from the vendor's file; nothing is written.

    Management controllers take /NODE.iso as virtual media, by ranges. /NODE.iso/PATH is a file in it, so that it is
    an installation source as well; /NODE/NAME is an answer that the installer fetches. Ctrl-C ends it.

    \b
    nestlab media serve labs/xcp-ng-8.3.yaml --iso xcp-ng.iso --host 0.0.0.0
    """
    jobs = _jobs(app, target, iso, Asked(**asked))
    images: dict[str, GraftPlan] = {}
    files: dict[str, bytes] = {}
    rows: list[list[object]] = []
    for made in jobs:
        plan = plan_edits(made.iso, made.edits)
        images[f"{made.name}.iso"] = plan
        rows.append([made.name, bytes_text(plan.size), f"{made.name}.iso"])
        files |= {f"{made.name}/{name}": content for name, content in made.fetched.items()}
        if made.volume is not None:
            files[f"{made.name}-{made.volume.label.lower()}.iso"] = author(made.volume)
        for line in notes(made, plan):
            click.echo(line, err=True)
    rows += [[name.partition("/")[0], bytes_text(len(content)), name] for name, content in files.items()]
    with ImageServer(images, files, trees=images.keys(), host=host, port=port, on_request=_log(app)) as server:
        click.echo(columns(["for", "size", "address"], [[*row[:2], server.url(str(row[2]))] for row in rows]))
        if not _is_local(server.address[0]):
            click.echo("warning: whoever reaches this address can read the answers", err=True)
        server.wait()


def _jobs(app: App, target: tuple[str, ...], iso: Path | None, asked: Asked) -> list[Job]:
    if not target:
        if iso is None:
            raise UsageError("which medium?", hint="give a lab, or --iso FILE")
        return [by_hand(iso, asked)]
    lab = load_lab(app, target[0], limits=False)
    names = target[1:] or node_names(lab)
    if not names:
        raise UsageError(f"no node of lab {lab.name} installs itself from a medium",
                         hint="write source: {medium: ISO} on one")  # fmt: skip
    if len(names) > 1 and any("=" not in mac for mac in asked.macs):
        raise UsageError("--mac: whose card is it?", hint=f"write --mac {names[0]}=3c:ec:ef:12:34:56")
    return [for_node(app, lab, name, iso, asked) for name in names]


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _log(app: App) -> Any:
    def tell(request: Request) -> None:
        if not app.quiet:
            part = f" {request.start}-{request.end}" if request.end > request.start else ""
            path = printable(request.path[:200])
            click.echo(f"{request.client} {request.method} {path} {request.status}{part}", err=True)

    return tell
