"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

from builder.errors import UsageError

connect_option = click.option(
    "--connect", metavar="URI", envvar=["NESTLAB_CONNECT", "LIBVIRT_DEFAULT_URI"], show_envvar=True,
    help="libvirt connection; without one each lab has a libvirt of its own, in-process.",
)  # fmt: skip
mirror_option = click.option(
    "--mirror", metavar="URL", envvar="NESTLAB_DEBIAN_MIRROR", show_envvar=True,
    help="Debian mirror for building images; without one the sources of this host's apt.",
)  # fmt: skip
templates_option = click.option(
    "--templates", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    envvar="NESTLAB_TEMPLATES", show_envvar=True,
    help="Templates of yours that stand in for ours: DIR/SYSTEM/NAME.",
)  # fmt: skip


def refuse_remote(connect: str | None) -> None:
    """A node's disks, console and switch are on the machine that starts it. Raises UsageError for any other."""
    from builder.lifecycle.doctor_ground import connection_of

    if connection_of(connect) == "remote":
        raise UsageError(
            f"{connect}: labs run by QEMU on this machine alone",
            hint="run nestlab there, or write all that runs the lab there: nestlab export LAB --to libvirt; a URI that "
            "nobody gave is LIBVIRT_DEFAULT_URI's",
        )
