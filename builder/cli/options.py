"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.drivers.ssh_l0 import FarUri

connect_option = click.option(
    "--connect", metavar="URI", envvar=["NESTLAB_CONNECT", "LIBVIRT_DEFAULT_URI"], show_envvar=True,
    help="libvirt connection, qemu+ssh://HOST/system for guests on another machine; without one each lab has a libvirt "
    "of its own, in-process.",
)  # fmt: skip
there_option = click.option(
    "--connect", metavar="URI", envvar="NESTLAB_CONNECT", show_envvar=True,
    help="Another machine that runs labs, qemu+ssh://HOST/system: there instead of here.",
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


def far_uri(connect: str | None) -> FarUri | None:
    """The other machine that `--connect` names, if it names one. Raises UsageError where no lab can run."""
    from builder.drivers.ssh_l0 import FarUri
    from builder.lifecycle.doctor_ground import connection_of

    if connect is None or connection_of(connect) != "remote":
        return None
    try:
        return FarUri.parse(connect)
    except UsageError as error:
        error.hint = (
            f"{error.hint}; or write all that runs the lab there: nestlab export LAB --to libvirt; a URI that nobody "
            "gave is LIBVIRT_DEFAULT_URI's"
        )
        raise
