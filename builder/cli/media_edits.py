"""What shall be put into a medium, said by options or by a node of a lab. Shared by the verbs of `nestlab media`."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from builder.cli.frame import App
from builder.cli.labs import load_lab, planned
from builder.cli.media_local import ISO, local_files, small_files, text_file
from builder.cli.media_metal import card, cards_of, remarks
from builder.cli.meter import meter
from builder.cli.options import templates_option
from builder.errors import UsageError
from builder.lifecycle.isos import download, fits, locate
from builder.media.answer import answer_edits, public_key
from builder.media.author import Volume, host_volume
from builder.media.edits import Arguments, Edit, How, Overlay, Put, from_model
from builder.media.initrd import OverlayFile
from builder.media.inspect import installer_of
from builder.model.lab import Lab, MediumSource, Node
from builder.model.plan import SystemPlan

F = TypeVar("F", bound=Callable[..., Any])
OVERLAY_MAX = 256 << 20

key_option = click.option(
    "--ssh-key", "keys", type=ISO, multiple=True, metavar="FILE",
    help="Public key that root of the new host accepts; needs --answer or a node.",
)  # fmt: skip
mac_option = click.option(
    "--mac", "macs", multiple=True, metavar="[NODE=]MAC",
    help="The machine's own card, instead of the one made up for the lab.",
)  # fmt: skip
_OPTIONS = (
    click.option("--add", "adds", multiple=True, metavar="LOCAL:/IN/IMAGE",
                 help="Put a file, or all files of a folder, on the medium; what is there is replaced."),
    click.option("--add-initrd", "overlays", multiple=True, metavar="LOCAL:/IN/INITRD",
                 help="Put a file, or all files of a folder, into the installer's initial RAM disk."),
    click.option("--answer", type=ISO, metavar="FILE",
                 help="Answer file, given to the medium's installer in its own way."),
    key_option,
    mac_option,
    click.option("--append", "kernel", multiple=True, metavar="'ARGS'", help="Arguments for the installer's kernel."),
    click.option("--append-xen", "hypervisor", multiple=True, metavar="'ARGS'", help="Arguments for the hypervisor."),
    click.option("--remove", multiple=True, metavar="'ARGS'",
                 help="Arguments to take off both, each whole or up to and with '='."),
    click.option("--title", "titles", multiple=True, metavar="NAME",
                 help="Change only boot entries of this name; without it all."),
    click.option("--initrd", "how", type=click.Choice(["auto", "append", "second", "repack"]), default="auto",
                 help="How files get into the RAM disk: behind it, in a second one, or packed anew."),
    templates_option,
)  # fmt: skip


def edit_options(function: F) -> F:
    """--add, --answer, --append and the rest; the function gets them as keywords for `Asked`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `edit_options` as they were given."""

    adds: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()
    answer: Path | None = None
    keys: tuple[Path, ...] = ()
    macs: tuple[str, ...] = ()
    kernel: tuple[str, ...] = ()
    hypervisor: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    how: How = "auto"
    templates: Path | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A medium to be made. `volume` belongs beside it; `fetched` (name -> content) is asked for over the network;
    `macs` are the cards that the host may boot from; `remarks` are for the user."""

    name: str
    iso: Path
    edits: tuple[Edit, ...]
    volume: Volume | None = None
    fetched: Mapping[str, bytes] = field(default_factory=dict)
    macs: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def job(app: App, target: tuple[str, ...], iso: Path | None, asked: Asked, *, by_network: bool = False) -> Job:
    """The medium that `[LAB NODE]` and the options ask for. Raises UsageError for what does not go together."""
    if not target:
        if iso is None:
            raise UsageError("which medium?", hint="give --iso FILE, or a lab and a node whose medium it is")
        return by_hand(iso, asked, by_network=by_network)
    if len(target) != 2:
        raise UsageError("a medium is made for one node", hint="give LAB and NODE, or neither")
    return for_node(app, load_lab(app, target[0], limits=False), target[1], iso, asked)


def by_hand(iso: Path, asked: Asked, *, by_network: bool = False) -> Job:
    """Without a lab: what the options say. Cards are for machines that boot `by_network`."""
    if asked.macs and not by_network:
        raise UsageError("--mac is for a node's answers, and here is none", hint="give a lab and a node")
    if asked.keys and asked.answer is None:
        raise UsageError("a key gets to the new host by its answer file", hint="give --answer FILE as well")
    edits: tuple[Edit, ...] = ()
    if asked.answer is not None:
        keys = [public_key(text_file(key), str(key)) for key in asked.keys]
        edits = answer_edits(installer_of(iso), text_file(asked.answer), keys)
    return Job(plain_name(iso.stem), iso, _merged((*edits, *_own(asked)), asked.how), macs=tuple(map(card, asked.macs)))


def plain_name(text: str) -> str:
    """A name as it can stand in a URL and in the menus of all loaders, where blanks part words."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "medium"


def for_node(app: App, lab: Lab, name: str, iso: Path | None, asked: Asked, *, looked_at: bool = True) -> Job:
    """What the node's system decided, then what the options say. `looked_at`: the medium has to be there, and the
    node's own."""
    if asked.answer is not None:
        raise UsageError("a node's answers are made from the lab file", hint="leave --answer out, or LAB and NODE")
    node = _node(lab, name)
    if not isinstance(node.source, MediumSource):
        raise UsageError(f"{name} starts from a ready image and needs no medium", hint="write source: {medium: ISO}")
    cards = cards_of(lab, name, asked.macs) or (node.management_mac,)
    own = _with_keys(node, asked).model_copy(update={"management_mac": cards[0]})
    plan = _plan(lab, own, asked.templates)
    source = iso or (_own_medium(app, node) if looked_at else Path(node.source.path))
    metal = remarks(own, plan, own_card=bool(asked.macs), own_templates=asked.templates is not None)
    told = (*(fits(node, source) if looked_at else ()), *metal)
    edits = (*from_model(plan.media_edits, plan.answers), *_own(asked))
    fetched = {answer.name: answer.content.encode() for answer in plan.answers if answer.delivery == "http"}
    volume = host_volume(plan.volume_label, plan.answers, plan.seed)
    return Job(name, source, _merged(edits, asked.how), volume, fetched, cards, told)


def _own_medium(app: App, node: Node) -> Path:
    """The node's medium as `up` finds it, downloaded where it has to be."""
    source = locate(node, app.places, app.environ)
    if source.url is not None:
        with meter(app, "download") as tell:
            download(node, source, progress=tell, stop=threading.Event())
    return Path(source.path)


def node_names(lab: Lab) -> tuple[str, ...]:
    """The nodes that install themselves from a medium."""
    return tuple(node.name for node in lab.nodes if isinstance(node.source, MediumSource))


def _node(lab: Lab, name: str) -> Node:
    try:
        return lab.node(name)
    except KeyError:
        known = ", ".join(node.name for node in lab.nodes)
        raise UsageError(f"lab {lab.name} has no node {name}", hint=f"its nodes: {known}") from None


def _with_keys(node: Node, asked: Asked) -> Node:
    if not asked.keys:
        return node
    from builder.systems import traits

    settings = traits()[node.system].install
    if settings is None or "root_keys" not in settings().model_fields:
        raise UsageError(f"{node.system} has no setting root_keys", hint="leave --ssh-key out")
    keys = [public_key(text_file(key), str(key)) for key in asked.keys]
    known = node.install.get("root_keys", ())
    return node.model_copy(update={"install": {**node.install, "root_keys": [*known, *keys]}})


def _plan(lab: Lab, node: Node, templates: Path | None) -> SystemPlan:
    only = lab.model_copy(update={"nodes": tuple(node if n.name == node.name else n for n in lab.nodes)})
    return planned(only, templates).node(node.name).system


def _own(asked: Asked) -> Iterator[Edit]:
    for path, local, _mode in local_files(asked.adds):
        yield Put(path, local)
    inside = small_files(asked.overlays, OVERLAY_MAX)
    if inside:
        yield Overlay(tuple(OverlayFile(path, content, mode) for path, content, mode in inside))
    kernel, hypervisor, remove = (
        tuple(word for given in words for word in given.split())
        for words in (asked.kernel, asked.hypervisor, asked.remove)
    )
    if kernel or hypervisor or remove:
        yield Arguments(kernel, hypervisor, remove, asked.titles)
    elif asked.titles:
        raise UsageError("--title says which entries get arguments, and none are given", hint="give --append 'ARGS'")


def _merged(edits: tuple[Edit, ...], how: How) -> tuple[Edit, ...]:
    """One overlay instead of several, at the end: each would make an initrd of its own."""
    overlays = [edit for edit in edits if isinstance(edit, Overlay)]
    if not overlays:
        if how != "auto":
            raise UsageError(
                f"--initrd {how} says how files get into the RAM disk, and none are given",
                hint="give some with --add-initrd or --answer, or leave --initrd out",
            )
        return edits
    files: dict[str, OverlayFile] = {}
    for overlay in overlays:
        for file in overlay.files:
            if file.path in files:
                raise UsageError(f"{file.path} is put into the initrd twice", hint="name each file once")
            files[file.path] = file
    rest = tuple(edit for edit in edits if not isinstance(edit, Overlay))
    return (*rest, Overlay(tuple(files.values()), how=how))
