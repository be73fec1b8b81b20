"""`nestlab media pxe`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.labs import complete_lab
from builder.cli.media_edits import Asked, edit_options, job
from builder.cli.media_local import ISO
from builder.cli.output import columns, printable
from builder.errors import HostLacks, LabError
from builder.media.extract import extract
from builder.media.netboot import GRUB_FOLDER, NetBoot, for_network, plan_netboot, reads_medium
from builder.media.plan import GraftPlan, plan_edits
from builder.media.privacy import OWNER
from builder.paths import write_atomic
from builder.run import run

_PXELINUX = Path("/usr/lib/PXELINUX/pxelinux.0")
_MODULES = Path("/usr/lib/syslinux/modules/bios")
_MODULE_NAMES = ("ldlinux.c32", "libcom32.c32", "mboot.c32")
_GRUB = Path("/usr/lib/grub")
_IPXE = (Path("/usr/lib/ipxe/undionly.kpxe"), Path("/usr/lib/ipxe/ipxe.efi"))
_CORE_EFI = f"{GRUB_FOLDER}/x86_64-efi/core.efi"
_MAKE_GRUB = 120
"""Seconds that grub-mknetdir may take; it takes one."""


@click.command()
@click.argument("target", nargs=-1, metavar="[LAB NODE]", shell_complete=complete_lab)
@click.option("--iso", type=ISO, metavar="FILE", help="The vendor's medium; with LAB NODE the one in the lab file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder that your TFTP or HTTP server gives out; other hosts in it stay.",
)
@click.option("--source", default="", show_default=False, metavar="URL",
              help="Where the medium's files are, for installers that ask.")  # fmt: skip
@edit_options
@volume_options
@pass_app
def pxe(app: App, /, *, target: tuple[str, ...], iso: Path | None, out: Path, source: str,
        **asked: Any) -> None:  # fmt: skip
    """Make a folder from which a machine boots into its installation over the network: the one with the card of --mac,
    without it the node's, or with --iso alone any.

    It holds the installer's kernel and RAM disk with the answers in it, and menus for PXELINUX, GRUB and iPXE. The
    loaders themselves are those of this host. DHCP has to name pxelinux.0 (BIOS) or the core.efi of GRUB (UEFI).

    \b
    nestlab media pxe labs/xcp-ng-8.3.yaml host --iso xcp-ng.iso --out /srv/tftp --source http://10.0.0.1/xcp-ng/
    """
    made = job(app, target, iso, Asked(**asked), by_network=True)
    edits = for_network(made.edits, {} if made.volume is None else made.volume.files)
    plan = plan_edits(made.iso, edits)
    tree = plan_netboot(plan, made.name, macs=made.macs, source=source)
    loaders = dict(_loaders(xen=tree.xen))
    _write(plan, tree, out, loaders)
    _write_grub(out)
    if not app.quiet:
        rows = [[name, (out / name).stat().st_size] for name in sorted({*tree.texts, *tree.taken, *loaders})]
        click.echo(printable(columns(["file", "size"], rows)))
        files = {"BIOS": _PXELINUX.name, "UEFI": _CORE_EFI}
        named = [f"{name} for {firmware}" for firmware, name in files.items() if (out / name).exists()]
        click.echo(
            f"boot file for DHCP to name: {', '.join(named)}" if named else "no loader for PXE is installed here"
        )
    seeds = [] if made.volume is None else [p for p in made.volume.files if p.count("/") > 1]
    for line in (*made.remarks, *tree.notes, *(f"{path} is on the second volume only" for path in seeds)):
        click.echo(printable(f"note: {line}"), err=True)
    if plan.mode == OWNER:
        click.echo("warning: whoever reaches the server of this folder can read what the installer gets", err=True)
    if reads_medium(edits):
        click.echo("warning: the answer file's source is local, and here is no medium: give it a URL", err=True)


def _loaders(*, xen: bool) -> Iterator[tuple[str, Path]]:
    """The loaders that are installed here: name in the tree -> file. Raises HostLacks when there are none at all."""
    found = False
    if _PXELINUX.exists() and all((_MODULES / name).exists() for name in _MODULE_NAMES):
        found = True
        yield _PXELINUX.name, _PXELINUX
        for name in _MODULE_NAMES if xen else _MODULE_NAMES[:1]:
            yield name, _MODULES / name
    for path in _IPXE:
        if path.exists():
            yield path.name, path
    if not found and shutil.which("grub-mknetdir") is None:
        raise HostLacks("no boot loader for a network is installed here",
                        hint="apt-get install pxelinux syslinux-common grub-common grub-efi-amd64-bin")  # fmt: skip


def _write(plan: GraftPlan, tree: NetBoot, out: Path, loaders: Mapping[str, Path]) -> None:
    try:
        for name in (*tree.texts, *tree.taken, *loaders):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
        extract(plan, {path: out / name for name, path in tree.taken.items()})
        for name, path in loaders.items():
            write_atomic(out / name, path.read_bytes(), mode=0o644)
        # The menus last: a machine that boots meanwhile finds all that they name, or no menu yet.
        for name, text in tree.texts.items():
            write_atomic(out / name, text.encode(), mode=0o644)
    except OSError as error:
        raise LabError(f"{error.filename or out} cannot be written: {error.strerror}",
                       hint="check the folder and the room in it") from None  # fmt: skip


def _write_grub(out: Path) -> None:
    """GRUB's own files, for the platforms that are installed. Its first step reads our menu."""
    if shutil.which("grub-mknetdir") is None or not _GRUB.is_dir():
        return
    if any((_GRUB / platform).is_dir() for platform in ("i386-pc", "x86_64-efi")):
        run(
            ["grub-mknetdir", f"--net-directory={out}", f"--subdir={GRUB_FOLDER}", "--locales=", "--fonts="],
            timeout=_MAKE_GRUB,
        )
