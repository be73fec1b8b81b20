"""`nestlab media inspect`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from pathlib import Path

import click

from builder.cli.frame import App, pass_app
from builder.cli.media_local import ISO
from builder.cli.output import bytes_text, columns, fields, output_option, printable, show
from builder.media.inspect import MediumReport
from builder.media.inspect import inspect as look
from builder.media.menus import Entry
from builder.secrets import redact


@click.command()
@click.argument("iso", metavar="ISO", type=ISO)
@output_option()
@pass_app
def inspect(_app: App, iso: Path, how: str) -> None:
    """Say what is on an installation medium: whose installer, how it boots, and what its menus start.

    ISO is an image, or a disk that holds one. Nothing is written.
    """
    report = look(iso)
    show(plain(report), how, lambda: _text(report))


def plain(value: object) -> object:
    """Plain data for JSON of what dataclasses hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields_of(value) if item.name != "text"}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _text(report: MediumReport) -> str:
    installer = report.installer
    name = f"{installer.name} {installer.release}".strip() or installer.family
    said = f"{name} ({installer.family}, by {installer.told_by})" if installer.told_by else "not known"
    head = fields({
        "medium": report.path,
        "size": f"{bytes_text(report.size)} ({report.size} bytes)",
        "volume": report.volume_id,
        "installer": said,
        "partitions": ", ".join(report.tables) or "none",
        "media check": f"MD5 {report.implanted_md5}" if report.implanted_md5 else "none",
    })  # fmt: skip
    return printable(redact("\n\n".join((head, *_tables(report)))))


def _tables(report: MediumReport) -> Iterator[str]:
    yield columns(["tree", "volume", "entries", "from block"], [
        [tree.kind, tree.volume_id, tree.entries, tree.base] for tree in report.trees
    ])  # fmt: skip
    if report.boot_images:
        yield columns(["boots by", "block", "sectors", "emulation", "bootable"], [
            [image.platform, image.block, image.load, image.emulation, "yes" if image.bootable else "no"]
            for image in report.boot_images
        ])  # fmt: skip
    if report.partitions:
        yield columns(["partition", "start", "sectors", "type", "name"], [
            [f"{part.table} {part.slot + 1}", part.start, part.count, part.kind, part.name]
            for part in report.partitions
        ])  # fmt: skip
    for menu in report.menus:
        where = f"{menu.path} ({menu.loader}{', in the EFI boot image' if menu.image is not None else ''})"
        yield "\n".join([where, *(f"  {line}" for entry in menu.entries for line in _entry(entry))])
    if report.initrds:
        yield columns(["initrd", "size", "packed with", "goes to"], [
            [item.path, bytes_text(item.size), item.packing, "a hypervisor" if item.module else "the kernel"]
            for item in report.initrds
        ])  # fmt: skip
    for manifest in report.manifests:
        stale = f"WRONG for {', '.join(manifest.stale)}" if manifest.stale else "all right"
        yield f"{manifest.path}: {manifest.files} checksums, {manifest.checked} looked at, {stale}"
    for note in report.notes:
        yield f"note: {note}"


def _entry(entry: Entry) -> Iterator[str]:
    yield entry.title or "(no name)"
    if entry.hypervisor:
        yield f"  {' '.join((entry.hypervisor, *entry.hypervisor_arguments))}"
    yield f"  {' '.join((entry.kernel, *entry.arguments))}"
    if entry.initrds:
        yield f"  {' '.join(entry.initrds)}"
