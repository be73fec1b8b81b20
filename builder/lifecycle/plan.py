"""What will be done for a lab, decided before anything is done: nodes, and a DAG of steps with their keys."""

from __future__ import annotations

from collections.abc import Callable

from builder.errors import LabError
from builder.lifecycle.steps import Step, digest, with_keys
from builder.model.lab import ImageSource, Lab, MediumSource, Node, Value
from builder.model.plan import Recipe, System, SystemPlan

VERSION = 1

UNKNOWN = "unknown"
"""Stands for the digest of a medium that nobody has looked at."""

QEMU_OVERHEAD = 200 << 20
"""Bytes that a node takes beside its guest's memory: QEMU itself, with the translation cache of emulation (seen: 27 to
93 MiB over 256 MiB guests; larger ones translate more)."""


class NodePlan(Value):
    """A node, what its system decided, and the ids of its steps in order."""

    name: str
    node: Node
    system: SystemPlan
    steps: tuple[str, ...]


class LabPlan(Value):
    v: int
    lab: Lab
    nodes: tuple[NodePlan, ...]
    steps: tuple[Step, ...]

    def node(self, name: str) -> NodePlan:
        """Raises KeyError for a name the lab does not have."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def node_steps(self, name: str) -> tuple[Step, ...]:
        own = set(self.node(name).steps)
        return tuple(step for step in self.steps if step.id in own)


def plan_lab(lab: Lab, load_system: Callable[[str], System]) -> LabPlan:
    """The plan of a lab. Pure: same lab, same plan.

    Raises LabError when a system cannot do what a node asks.
    """
    systems = {name: load_system(name) for name in sorted({node.system for node in lab.nodes})}
    steps: dict[str, Step] = {}
    nodes = []
    for node in lab.nodes:
        system = systems[node.system].plan(node)
        own = _node_steps(lab, node, system)
        steps.update({step.id: step for step in own})
        nodes.append(NodePlan(name=node.name, node=node, system=system, steps=tuple(step.id for step in own)))
    return LabPlan(v=VERSION, lab=lab, nodes=tuple(nodes), steps=with_keys(list(steps.values())))


def recipe_digest(recipe: Recipe) -> str:
    return digest(recipe.model_dump(mode="json"))


def _node_steps(lab: Lab, node: Node, system: SystemPlan) -> list[Step]:
    """base -> identity -> disks, then each power-on, then the shared connection.

    A node that installs itself gets its medium remastered before its disks, and its disks are kept as an image when
    the last power-on with a medium is over.
    """
    name = node.name
    installs = isinstance(node.source, MediumSource)
    base = (
        _medium_step(node, node.source, system) if isinstance(node.source, MediumSource) else _base_step(node, system)
    )
    steps = [base]

    def live(step: str, *needs: str, weight: float = 1, **inputs: object) -> str:
        made = Step(id=f"{name}/{step}", name=step.partition(":")[0], version=1, kind="live", node=name,
                    needs=needs, inputs=inputs, weight=weight)  # fmt: skip
        steps.append(made)
        return made.id

    identity = live("identity", *((base.id,) if installs else ()), user=system.ssh_user)
    remaster = (live("remaster", base.id, identity, weight=2),) if installs else ()
    disks = live(
        "disks", base.id, identity, *remaster,
        disks=[disk.model_dump(mode="json") for disk in node.disks],
        seed=digest([file.model_dump(mode="json") for file in system.seed]),
    )  # fmt: skip
    hardware = node.model_dump(mode="json", include=_HARDWARE) | {
        "networks": {nic.network: next(n.mtu for n in lab.networks if n.name == nic.network) for nic in node.nics}
    }
    last = disks
    before = tuple(f"{other}/session" for other in node.after)
    for number, boot in enumerate(system.boots):
        suffix = f":{boot.name}" if len(system.boots) > 1 else ""
        weight = sum(phase.weight for phase in boot.phases)
        needs = (last, *(before if number == 0 else ()))
        last = live(f"boot{suffix}", *needs, weight=weight, hardware=hardware, boot=boot.model_dump(mode="json"))
        if boot.medium and not any(later.medium for later in system.boots[number + 1 :]):
            last = live("keep", last, weight=2)
    live("session", last)
    return steps


_HARDWARE = {
    "cpus", "memory", "firmware", "machine", "cpu_model", "iommu", "management_nic", "management_mac", "disks", "nics"
}  # fmt: skip


def _medium_step(node: Node, source: MediumSource, system: SystemPlan) -> Step:
    """Its key is that of the installed image: the medium, what is told to its installer, and what that sees of the
    machine and writes down (the addresses of cards among it), but not how much memory there was."""
    inputs = {
        "medium": source.sha256 or UNKNOWN,
        "answers": digest([answer.model_dump(mode="json") for answer in system.answers]),
        "edits": digest([edit.model_dump(mode="json") for edit in system.media_edits]),
        "seed": digest([file.model_dump(mode="json") for file in system.seed]),
        "machine": node.model_dump(mode="json", include=_INSTALLED)
        | {"nics": [{"mac": nic.mac, "model": nic.model} for nic in node.nics]},
    }
    return Step(
        id=f"{node.name}/medium", name="medium", version=1, kind="cached", node=node.name, inputs=inputs, weight=5
    )


_INSTALLED = {"firmware", "machine", "management_nic", "management_mac", "disks"}


def _base_step(node: Node, system: SystemPlan) -> Step:
    assert isinstance(node.source, ImageSource)
    if node.source.path is not None:
        return Step(id=f"image:{digest(node.source.path)[:12]}", name="own-image", version=1, kind="cached",
                    inputs={"path": node.source.path}, weight=1)  # fmt: skip
    if system.recipe is None:
        raise LabError(f"{node.name}: {system.system} {system.release} has no ready image", hint="use `source: medium`")
    recipe = recipe_digest(system.recipe)
    weight = 180 if system.recipe.kind == "disk" else 20
    return Step(
        id=f"image:{recipe[:12]}", name="image", version=1, kind="cached", inputs={"recipe": recipe}, weight=weight
    )
