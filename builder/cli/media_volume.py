"""`nestlab media volume`: answers on a small medium of their own, the vendor's untouched."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, load_lab
from builder.cli.media_edits import Asked, for_node, key_option, mac_option
from builder.cli.media_local import ISO, small_files, text_file
from builder.cli.options import templates_option
from builder.cli.output import bytes_text
from builder.errors import UsageError
from builder.media.author import (
    ANSWER_LABEL,
    Volume,
    autoyast_volume,
    kickstart_volume,
    nocloud_volume,
    preseed_volume,
    write_volume,
)
from builder.media.errors import MediaError

VOLUME_MAX = 64 << 20


@click.command()
@click.argument("target", nargs=-1, metavar="[LAB NODE]", shell_complete=complete_lab)
@click.option("-o", "--out", type=ISO, required=True, metavar="FILE", help="The volume, an ISO 9660 image.")
@click.option("--kickstart", type=ISO, metavar="FILE", help="For Anaconda: /ks.cfg on OEMDRV, found by itself.")
@click.option("--autoyast", type=ISO, metavar="FILE", help="For AutoYaST: /autoinst.xml on OEMDRV, found by itself.")
@click.option("--preseed", type=ISO, metavar="FILE", help="For Debian's installer, started with preseed/file=.")
@click.option("--user-data", type=ISO, metavar="FILE", help="For cloud-init: NoCloud, found by itself.")
@click.option("--meta-data", type=ISO, metavar="FILE", help="Of NoCloud; without it an instance-id made from the data.")
@click.option("--network-config", type=ISO, metavar="FILE", help="Of NoCloud.")
@click.option("--label", metavar="NAME", help="Label, when it has to be another.")
@click.option("--add", "adds", multiple=True, metavar="LOCAL:/PATH", help="More files, or a folder's.")
@key_option
@mac_option
@templates_option
@pass_app
def volume(app: App, /, *, target: tuple[str, ...], out: Path, kickstart: Path | None, autoyast: Path | None,
           preseed: Path | None, user_data: Path | None, meta_data: Path | None, network_config: Path | None,
           label: str | None, adds: tuple[str, ...], keys: tuple[Path, ...],
           macs: tuple[str, ...], templates: Path | None) -> None:  # fmt: skip
    """Make a small medium that holds answers, to be attached beside the vendor's. Its owner alone can read it.

    With LAB NODE it is the one that the node's installer looks for.

    \b
    nestlab media volume labs/rhel-raid10.yaml host -o oemdrv.iso
    nestlab media volume --kickstart ks.cfg -o oemdrv.iso
    """
    if (keys or macs) and not target:
        raise click.UsageError("--ssh-key and --mac are for LAB NODE")
    if (meta_data or network_config) and user_data is None:
        raise click.UsageError("--meta-data and --network-config belong to --user-data")
    found = [
        *([_of_node(app, target, Asked(keys=keys, macs=macs, templates=templates))] if target else []),
        *([kickstart_volume(text_file(kickstart))] if kickstart else []),
        *([autoyast_volume(text_file(autoyast))] if autoyast else []),
        *([preseed_volume(text_file(preseed))] if preseed else []),
        *([_nocloud(user_data, meta_data, network_config)] if user_data else []),
    ]
    if len(found) > 1:
        raise click.UsageError("a volume is for one kind of answers")
    base = found[0] if found else Volume(ANSWER_LABEL, {})
    more = {path: content for path, content, _mode in small_files(adds, VOLUME_MAX)}
    made = replace(base, label=label or base.label, files={**base.files, **more})
    if not made.files:
        raise click.UsageError("nothing to put on it: give LAB NODE, an answer file or --add")
    if sum(map(len, made.files.values())) > VOLUME_MAX:
        raise MediaError("this is more than a small volume", hint="make a big one with xorriso")
    write_volume(made, out)
    if not app.quiet:
        click.echo(f"{out}: {bytes_text(out.stat().st_size)}, {made.label}, {', '.join(sorted(made.files))}")


def _of_node(app: App, target: tuple[str, ...], asked: Asked) -> Volume:
    if len(target) != 2:
        raise UsageError("a volume is made for one node", hint="give LAB and NODE, or neither")
    lab = load_lab(app, target[0], limits=False)
    made = for_node(app, lab, target[1], None, asked, looked_at=False)
    if made.volume is None:
        raise UsageError(f"{target[1]} needs no second volume", hint="its answers go on the medium: media build")
    for remark in made.remarks:
        click.echo(f"warning: {remark}", err=True)
    return made.volume


def _nocloud(user_data: Path, meta_data: Path | None, network: Path | None) -> Volume:
    user = text_file(user_data)
    name = hashlib.sha256(user.encode()).hexdigest()[:12]
    meta = text_file(meta_data) if meta_data else f"instance-id: nestlab-{name}\n"
    return nocloud_volume(user, meta, network=text_file(network) if network else None)
