"""A host's image under bare QEMU: its own disk, keys and ssh port, without nestlab's libvirt, switch and keeper."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from builder.drivers.ssh import LabKeys, generate_keys
from builder.images.build import build
from builder.images.hosts import read_host
from builder.images.overlays import create_overlay, write_seed
from builder.images.store import Image, ImageStore
from builder.images.tiny import MANAGEMENT
from builder.lifecycle.plan import NodePlan
from builder.model.plan import File
from builder.model.runtime import SshTarget
from builder.paths import Places


@dataclass(frozen=True, slots=True)
class Bare:
    disk: Path
    keys: LabKeys

    def target(self, port: int) -> SshTarget:
        """How to reach it on that port of this machine."""
        return SshTarget(host="127.0.0.1", port=port, user="root", identity_file=str(self.keys.identity),
                         known_hosts=str(self.keys.known_hosts), host_key_alias="bare")  # fmt: skip


def image_of(node: NodePlan) -> Image:
    """The node's image, from the user's shelf; built when it is not there."""
    assert node.system.recipe is not None
    user = Places.from_environment(os.environ)
    return build(
        node.system.recipe, read_host(), ImageStore(user.cache), work=user.cache / "work", emit=lambda *_a, **_k: None
    )


def prepare(node: NodePlan, image: Image, folder: Path) -> Bare:
    """The disk of one start in `folder`, with this start's keys and the address of QEMU's user-mode network."""
    assert image.disk is not None
    keys = generate_keys(folder / "ssh", "bare")
    own = (
        File(path=MANAGEMENT, content="10.0.2.15/24 10.0.2.2\n"),
        File(path="/root/.ssh/authorized_keys", content=keys.identity_public.read_text(), mode=0o600),
        File(path="/etc/ssh/ssh_host_ed25519_key", content=keys.host_key.read_text(), mode=0o600),
        File(path="/etc/ssh/ssh_host_ed25519_key.pub", content=keys.host_key_public.read_text()),
    )
    disk = create_overlay(image.disk, folder / "disk.qcow2", node.node.disks[0].size)
    write_seed(disk, (*node.system.seed, *own))
    return Bare(disk, keys)
