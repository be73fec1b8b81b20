"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

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
