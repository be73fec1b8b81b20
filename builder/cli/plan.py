"""`nestlab plan`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, load_lab, planned
from builder.cli.meter import meter
from builder.cli.options import mirror_option, templates_option
from builder.cli.output import columns, fields, output_option, show, terminal_width
from builder.errors import HostLacks, UsageError
from builder.images.hosts import read_host
from builder.images.keys import image_key
from builder.images.store import ImageStore
from builder.lifecycle.doctor_needs import recipes_of
from builder.lifecycle.isos import find_medium
from builder.lifecycle.plan import UNKNOWN, LabPlan, NodePlan
from builder.model.lab import Lab, MediumSource, medium_variable
from builder.model.units import show_size

# File contents are shown by `render`; here they would repeat for every node.
_GENERATED: Any = {
    "lab": {"nodes"},
    "nodes": {"__all__": {"system": {"answers", "boots", "media_edits", "recipe", "seed"}}},
    "steps": {"__all__": {"inputs"}},
}


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@mirror_option
@templates_option
@click.option("--explain", is_flag=True, help="Why each documented setting of the nodes is what it is.")
@output_option()
@pass_app
def plan(app: App, *, lab: str, mirror: str | None, templates: Path | None, explain: bool, how: str) -> None:
    """Show what `up` would do for LAB, without doing it: nodes, their media, images cached or to be built or installed,
    and every step.

    A step's key is the digest of all that decides its result: equal keys are done once, for all labs. Ports, paths
    and identities are chosen when the lab comes up and are in no key.

    --explain tells of each setting that documents name: what the node has, what they say and where, what speaks
    against it, and the strongest proof there is for such a node.
    """
    loaded = load_lab(app, lab, limits=False)
    planned(loaded, templates)  # what is refused is refused before media are looked for and read
    loaded, media = _media(app, loaded)
    made = planned(loaded, templates)
    if explain:
        from builder.cli.reasons import reasons

        rows = reasons(made)
        show(rows, how, lambda: "\n\n".join(fields(row, terminal_width()) for row in rows))
        return
    images = image_states(made, app, mirror)
    value = None
    if how != "table":
        value = made.model_dump(mode="json", exclude=_GENERATED) | {"images": images, "media": media}
    show(value, how, lambda: _table(made, images, media))
    for node in made.nodes:
        for finding in node.system.findings:
            hint = f"\n  hint: {finding.hint}" if finding.hint else ""
            click.echo(f"{node.name}: {finding.severity}: {finding.message} [{finding.code}]{hint}", err=True)


def image_states(made: LabPlan, app: App, mirror: str | None) -> list[dict[str, Any]]:
    """The images that the nodes boot from, with the state `cached` or `to build`."""
    store = ImageStore(app.places.cache)
    states = []
    for recipe in recipes_of(made):
        nodes = [node.name for node in made.nodes if node.system.recipe == recipe]
        try:
            key = image_key(recipe, read_host(mirror=mirror, tools=recipe.kind == "disk"))
        except HostLacks:
            key = ""
        state = "cached" if key and store.find(key) else "to build"
        states.append({"key": key, "kind": recipe.kind, "release": recipe.release, "state": state, "nodes": nodes})
    for step in made.steps:
        if step.name == "medium":
            plan = made.node(str(step.node))
            known = step.inputs["medium"] != UNKNOWN
            state = "cached" if known and store.find(step.key) else "to install"
            release = f"{plan.system.system} {plan.system.release}"
            states.append({"key": step.key if known else "", "kind": "installed", "release": release, "state": state,
                           "nodes": [plan.name]})  # fmt: skip
    return states


def _media(app: App, lab: Lab) -> tuple[Lab, list[dict[str, Any]]]:
    """The lab with the media that there are, and what is to be said of all of them. Reads those that are new."""
    nodes, states = [], []
    for node in lab.nodes:
        found, state = node, "missing"
        with contextlib.suppress(UsageError), meter(app, f"checksum {node.name}") as tell:
            found, _ = find_medium(node, app.places, app.environ, progress=tell)
            state = "there"
        nodes.append(found)
        if isinstance(found.source, MediumSource):
            path = found.source.url or found.source.path or medium_variable(node.system, node.release)
            state = "to download" if found.source.url and state == "there" else state
            states.append({"node": node.name, "medium": path, "sha256": found.source.sha256, "state": state})
    return lab.model_copy(update={"nodes": tuple(nodes)}), states


def _table(made: LabPlan, images: list[dict[str, Any]], media: list[dict[str, Any]]) -> str:
    nodes = [_node_row(node) for node in made.nodes]
    parts = [
        f"lab {made.lab.name}",
        columns(["node", "system", "cpus", "memory", "firmware", "disks", "networks"], nodes),
    ]
    if media:
        shown = [[each["node"], each["medium"], each["state"], (each["sha256"] or "unknown")[:12]] for each in media]
        parts.append(columns(["node", "medium", "state", "sha256"], shown))
    if images:
        rows = [
            [i["key"][:12] or "unknown", i["kind"], i["release"], i["state"], ", ".join(i["nodes"])] for i in images
        ]
        parts.append(columns(["image", "kind", "release", "state", "for"], rows))
    steps = [[s.id, s.kind, f"{s.weight:.0f} s", s.key[:12], " ".join(s.needs) or "-"] for s in made.steps]
    parts.append(columns(["step", "kind", "expected", "key", "after"], steps))
    return "\n\n".join(parts)


def _node_row(plan: NodePlan) -> list[object]:
    node = plan.node
    disks = " ".join(f"{disk.name}:{show_size(disk.size)}:{disk.bus}" for disk in node.disks)
    networks = " ".join(nic.network for nic in node.nics)
    system = f"{plan.system.system} {plan.system.release}"
    return [node.name, system, node.cpus, show_size(node.memory), node.firmware, disks or "-", networks or "-"]
