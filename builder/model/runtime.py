"""Values that are chosen when a lab runs: ports, paths, identities. Never part of a step's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from builder.model.lab import DiskBus, Value

MARK_NAMESPACE = "urn:nestlab:mark:1"
"""XML namespace of the mark in a domain's metadata: `<mark lab= node= expires=>`. What lacks it is not ours."""

Accelerator = Literal["kvm", "tcg"]
NodeState = Literal["planned", "starting", "ready", "failed", "stopped"]
LabState = Literal["starting", "ready", "failed", "stopping", "down", "dead"]


class NicPorts(Value):
    """UDP ports on 127.0.0.1 of one lab card: QEMU's end and the switch's end."""

    qemu: int
    switch: int


class DirectBoot(Value):
    """A kernel given to the guest by the emulator itself. Paths are absolute."""

    kernel: str
    initrd: str
    arguments: str


class UefiFirmware(Value):
    """OVMF: the read-only code and this node's own copy of the variables. Paths are absolute."""

    code: str
    variables: str
    template: str


class InstallMedia(Value):
    """What is in the CD drives while a node installs itself: the remastered medium (qcow2) that it starts from, and the
    volume with its own files, where there is one. Paths are absolute."""

    medium: str
    volume: str | None = None


class Wiring(Value):
    """Everything about one start of a node that is not in the lab file. Paths are absolute; `disks` follows the
    order of the node's disks, `nics` that of its cards. `machine_type` is the versioned machine that 'pc' or 'q35'
    stands for on this host (such as pc-i440fx-7.2): a saved state needs the very one; None takes the alias. `cdrom` is
    a medium that is tried after the disks, `install` one that is tried before them. `screen` gives a display."""

    lab: str
    domain: str
    uuid: str
    accelerator: Accelerator
    machine_type: str | None = None
    disks: tuple[str, ...]
    cdrom: str | None = None
    install: InstallMedia | None = None
    screen: bool = False
    console_log: str
    console_socket: str
    ssh_port: int
    nics: tuple[NicPorts, ...] = ()
    direct: DirectBoot | None = None
    uefi: UefiFirmware | None = None
    on_reboot: Literal["restart", "end"] = "restart"
    expires_at: float = 0


class SshTarget(Value):
    """How to reach a node. `control_path` is the socket of the shared connection, where one is kept.
    `host_key_alias` is the name the host key is pinned under in `known_hosts`: ports change, it does not."""

    host: str
    port: int
    user: str
    identity_file: str
    known_hosts: str
    control_path: str | None = None
    host_key_alias: str | None = None


class NodeStatus(Value):
    name: str
    system: str
    release: str
    state: NodeState
    phase: str | None = None
    cause: str | None = None
    ssh: SshTarget | None = None
    console_log: str
    console_socket: str | None = None


class LabStatus(Value):
    """`expires_at` is seconds since the epoch, 0 for never. `accelerator` is what the nodes run on."""

    lab: str
    state: LabState
    accelerator: Accelerator | None = None
    keeper_pid: int | None = None
    started_at: float = 0
    expires_at: float = 0
    nodes: tuple[NodeStatus, ...] = ()


class PortStatus(Value):
    """A lab card of a node, and its port on the lab's switch. `card` counts the node's lab cards from 1 (eth1, where
    Linux names them in their order). `link` is what the guest sees; `cut`: the cable is out further away, and the guest
    sees nothing of it. Frames that enter or leave are held back by `delay_ms`, and the part `loss` of them (0 to 1) is
    lost. `counters` are of the port, as in drivers.switch.PortState; none while the node does not run."""

    network: str
    mtu: int
    node: str
    card: int
    mac: str
    vlan: int | None = None
    trunk: tuple[int, ...] = ()
    running: bool
    link: bool
    cut: bool = False
    delay_ms: float = 0
    loss: float = 0
    counters: Mapping[str, int] = Field(default_factory=dict)


class DiskStatus(Value):
    """A disk of a node, `size` in bytes. `place` is the one that it has from the node's next power-on, counted from
    1. `turn` is when the firmware tries to start from it, counted from 1 as well; 0 for a disk that is out, and while
    the node does not run."""

    node: str
    name: str
    bus: DiskBus
    size: int
    running: bool
    plugged: bool
    place: int
    turn: int = 0
