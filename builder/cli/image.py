"""`nestlab image`: the shelf of golden images."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.labs import complete_lab, load_lab, planned
from builder.cli.options import far_uri, mirror_option, templates_option, there_option
from builder.cli.output import bytes_text, columns, output_option, show, span_text
from builder.cli.progress import listening
from builder.images.store import Image, ImageStore
from builder.model.units import parse_size

DEFAULT_CAP = "20GiB"


def _size(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Bytes of `20GiB`; 0 needs no unit."""
    try:
        return 0 if value == "0" else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@output_option("name")
@pass_app
def ls(app: App, how: str) -> None:
    """List the images in the cache, the longest unused first."""
    images = ImageStore(app.places.cache).ls()
    if how == "name":
        for image in images:
            click.echo(image.key)
        return
    show([image.model_dump(mode="json") for image in images], how, lambda: _table(images),
         empty="" if app.quiet else "no image is in the cache")  # fmt: skip


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@mirror_option
@templates_option
@output_option("jsonl")
@volume_options
@pass_app
def build(app: App, lab: str, mirror: str | None, templates: Path | None, how: str) -> None:
    """Build the images that the nodes of LAB boot from, those that are not in the cache yet.

    A disk image needs root, or sudo; `nestlab doctor LAB` says what else.
    """
    from builder.events import EventLog, about
    from builder.images.build import build as make
    from builder.images.hosts import read_host
    from builder.lifecycle.doctor_needs import recipes_of

    plan = planned(load_lab(app, lab, limits=False), templates)
    store = ImageStore(app.places.cache)
    images = []
    work = app.places.cache / "work"
    with listening(app, how) as listener:
        log = EventLog(plan.lab.name, None, listener)
        for recipe in recipes_of(plan):
            host = read_host(mirror=mirror, tools=recipe.kind == "disk")
            step = f"image {recipe.kind} {recipe.release}"
            log.emit("begin", step=step)
            images.append(make(recipe, host, store, work=work, emit=about(log.emit, step=step)))
            log.emit("end", step=step, outcome="ok", key=images[-1].key)
    if how != "jsonl":
        show([image.model_dump(mode="json") for image in images], how, lambda: _table(images),
             empty="" if app.quiet else f"no node of lab {plan.lab.name} boots from an image to be built")  # fmt: skip


@click.command()
@click.option(
    "--max-size", callback=_size, default=DEFAULT_CAP, metavar="SIZE",
    help="What the images may take together; 0 removes all that are not in use.",
)  # fmt: skip
@there_option
@output_option()
@pass_app
def prune(app: App, max_size: int, connect: str | None, how: str) -> None:
    """Remove images, the longest unused first, until the rest fits. An image that a lab uses stays.

    With --connect what was sent to that machine is removed, media too; its names are the sha256 of the files.
    """
    uri = far_uri(connect)
    if uri is None:
        gone = list(ImageStore(app.places.cache).prune(max_size))
    else:
        from builder.lifecycle.far import visiting

        with visiting(uri, app.places) as far:
            gone = far.outpost.ask("prune", limit=max_size)
    show(gone, how, lambda: "\n".join(gone), empty="" if app.quiet else "nothing was removed")


def _table(images: Any) -> str:
    rows = [_row(image) for image in images]
    return columns(["image", "kind", "release", "size", "age", "unused"], rows) if rows else ""


def _row(image: Image) -> list[str]:
    age, unused = (span_text(time.time() - when) for when in (image.created_at, image.used_at))
    return [image.key[:12], image.kind, image.release or "-", bytes_text(image.size), age, unused]
