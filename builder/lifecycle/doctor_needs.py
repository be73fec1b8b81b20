"""What a lab asks of the host, worked out from its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from builder.errors import HostLacks, UsageError
from builder.images.hosts import read_host
from builder.images.keys import image_key
from builder.images.store import ImageStore
from builder.lifecycle.doctor_ground import Medium, Needs, connection_of
from builder.lifecycle.isos import locate
from builder.lifecycle.plan import QEMU_OVERHEAD, LabPlan, plan_lab
from builder.model.lab import ImageSource, Lab, MediumSource, medium_variable
from builder.model.plan import Recipe
from builder.paths import Places, is_locked
from builder.systems import load_system

# Rounded up: the most that a build has on disk at once (package cache, tree, archive and image beside each other).
_SPACE = {"disk": 6 << 30, "initramfs": 1 << 30}


def needs_of(
    lab: Lab | None, places: Places, environ: Mapping[str, str], *, connect: str | None, mirror: str | None
) -> Needs:
    """Raises LabError when a system cannot do what a node asks."""
    connection = connection_of(connect)
    if lab is None:
        return Needs(connection=connection, mirror=mirror)
    plan = plan_lab(lab, load_system)
    kinds = [recipe.kind for recipe in missing_images(plan, places, mirror=mirror)]
    return Needs(
        memory=sum(node.memory + QEMU_OVERHEAD for node in lab.nodes),
        cpus=max((node.cpus for node in lab.nodes), default=0),
        footprint=sum(load_system(node.system).traits.footprint for node in lab.nodes),
        build_space=sum(_SPACE[kind] for kind in kinds),
        machines=frozenset(node.machine for node in lab.nodes),
        uefi=any(node.firmware == "uefi" for node in lab.nodes),
        builds_disk="disk" in kinds,
        builds_initramfs="initramfs" in kinds,
        media=tuple(_media(lab, places, environ)),
        running=is_locked(places.lab(lab.name) / "lock"),
        connection=connection,
        mirror=mirror,
    )


def _media(lab: Lab, places: Places, environ: Mapping[str, str]) -> Iterator[Medium]:
    for node in lab.nodes:
        if isinstance(node.source, MediumSource):
            try:
                source = locate(node, places, environ)
            except UsageError as error:
                variable = medium_variable(node.system, node.release)
                yield Medium(node.name, error.message, f"export {variable}=/path/to/FILE.iso")
            else:
                yield Medium(node.name, f"{source.url}, to be downloaded" if source.url else source.path)


def recipes_of(plan: LabPlan) -> tuple[Recipe, ...]:
    """The recipes of the images that the plan's nodes boot, each once, in the order of the nodes."""
    found = {
        node.system.recipe: None
        for node in plan.nodes
        if node.system.recipe is not None
        and isinstance(node.node.source, ImageSource)
        and node.node.source.path is None
    }
    return tuple(found)


def missing_images(plan: LabPlan, places: Places, *, mirror: str | None) -> tuple[Recipe, ...]:
    """The recipes whose image is not in the cache. All of them, when this host's part in their keys is unknown."""
    store = ImageStore(places.cache)
    missing = []
    for recipe in recipes_of(plan):
        try:
            host = read_host(mirror=mirror, tools=recipe.kind == "disk")
        except HostLacks:
            missing.append(recipe)
            continue
        if store.find(image_key(recipe, host)) is None:
            missing.append(recipe)
    return tuple(missing)
