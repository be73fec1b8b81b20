"""Findings about what a node's ready image is made with for others: packages, and the storage that it serves."""

from __future__ import annotations

from builder.model.lab import Storage
from builder.model.subject import Subject, repeated
from builder.model.words import shorten, suggest


def lint_storage(it: Subject) -> None:
    """Add everything that is wrong with `packages:` and `storage:` to the report."""
    node = it.node
    ready = it.traits.packages and node.source.kind == "image" and node.source.path is None
    if node.packages and not ready:
        other = "put them under install: packages" if it.traits.packages else "remove packages: from this node"
        it.add("lab-packages", "packages are put into images that nestlab builds, and it has none", other, "packages")
    if node.storage is None:
        return
    if not ready:
        it.add("lab-storage", "storage is served by Debian nodes from the image that nestlab builds",
               "write system: debian, without a source", "storage")  # fmt: skip
        return
    if not any(nic.addresses or any(nic.vlan_addresses.values()) for nic in node.nics):
        it.add("lab-storage", "it serves storage and has no address on a lab network",
               "add networks: [{network: ..., addresses: [10.0.0.1/24]}]", "storage")  # fmt: skip
    _disks(it, node.storage)
    for at, folder in repeated(list(node.storage.nfs)):
        it.add("lab-storage", f"folder {shorten(folder)} is served twice", "name it once", "storage", "nfs", at)


def _disks(it: Subject, storage: Storage) -> None:
    names = [disk.name for disk in it.node.disks]
    for at, name in enumerate(storage.iscsi):
        if name not in names:
            it.add("lab-storage", f"it has no disk called {shorten(name)}", suggest(name, names[1:], kind="disks"),
                   "storage", "iscsi", at)  # fmt: skip
        elif name == names[0]:
            it.add("lab-storage", f"disk {name} is the one that the node starts from", "serve another disk",
                   "storage", "iscsi", at)  # fmt: skip
    for at, name in repeated(list(storage.iscsi)):
        it.add("lab-storage", f"disk {shorten(name)} is served twice", "name it once", "storage", "iscsi", at)
