"""`doctor`: does this host have what labs need, and the exact line that gives it what it lacks.

The rows are data: a name, when it matters, why, and a function that looks. Looking changes nothing, except that the
KVM probe boots a guest for some seconds once per boot of the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from builder.drivers.ssh_l0 import FarUri
from builder.errors import LabError
from builder.lifecycle import doctor_kvm as kvm
from builder.lifecycle import doctor_room as room
from builder.lifecycle import doctor_tools as tools
from builder.lifecycle.accelerator import verdict
from builder.lifecycle.doctor_ground import Finding, Ground, Needs, Status
from builder.lifecycle.doctor_needs import needs_of
from builder.lifecycle.doctor_there import rows_there
from builder.model.lab import Lab
from builder.paths import Places

Look = Callable[[Ground, Needs], Finding]


@dataclass(frozen=True, slots=True)
class Row:
    """One finding. `missing`: the lab cannot run. `warn`: it runs, but slower or less well. `unknown`: this host
    does not tell. `fix`: command lines, one per line."""

    name: str
    status: Status
    seen: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    why: str
    look: Look
    when: Callable[[Needs], bool] = lambda _: True


def _builds_disk(needs: Needs) -> bool:
    return needs.builds_disk


def _builds(needs: Needs) -> bool:
    return needs.builds_disk or needs.builds_initramfs


def _system(needs: Needs) -> bool:
    return needs.connection == "system"


def _here(needs: Needs) -> bool:
    """The nodes run on this machine."""
    return needs.connection != "remote"


def _embedded(needs: Needs) -> bool:
    return needs.connection == "embed"


CHECKS: tuple[Check, ...] = (
    Check("python", "nestlab is written for it", tools.python),
    Check("encoding", "console logs and names are UTF-8", room.encoding),
    Check("folders", "state and cache are kept there", room.folders),
    Check("runtime folder", "sockets of the keeper and of libvirt", room.runtime_folder),
    Check("lingering", "labs live on after a logout", room.lingering),
    Check("dead labs", "what they hold blocks new labs", room.leftovers),
    Check("libvirt binding", "talks to libvirt", tools.libvirt_binding),
    Check("libvirt QEMU driver", "runs in our own process: no daemon, no root", tools.qemu_driver, _embedded),
    Check("libvirt schemas", "judges every domain before it starts", tools.schemas),
    Check("qemu", "is the hypervisor (L0)", tools.qemu, _here),
    Check("machine types", "the machine that each node asks for", tools.machine_types, _here),
    *(Check(tool.name, tool.why, tool.look, tool.when) for tool in tools.TOOLS),
    Check("ovmf", "firmware of UEFI nodes", tools.ovmf, lambda needs: needs.uefi and _here(needs)),
    Check("package sources", "an image is made of Debian packages", tools.package_sources, _builds),
    Check("archive keyring", "verifies Debian packages", tools.keyring, _builds_disk),
    Check("disk-image-create", "builds disk images", tools.disk_image_create, _builds_disk),
    Check("root", "building a disk image needs it", tools.administrator, _builds_disk),
    Check("loop device", "building a disk image mounts one", tools.loop_device, _builds_disk),
    Check("media", "nodes are installed from them", room.media, lambda needs: bool(needs.media)),
    Check("memory", "of all nodes together", room.memory, _here),
    Check("cores", "of the largest node", room.cores, _here),
    Check("disk space", "of state and cache", room.disk),
    Check("cpu", "hardware virtualization", kvm.cpu, _here),
    Check("kvm device", "hardware acceleration", kvm.device, _here),
    Check("nested kvm", "hardware guests inside the nodes", kvm.nested, _here),
    Check("nested paging", "EPT or NPT, for hardware guests inside the nodes", kvm.paging, _here),
    Check("process 1", "collects what killed programs leave", room.reaping, _here),
    Check("cgroups", "libvirt may account with them", room.cgroups, _here),
    Check("confinement", "AppArmor or SELinux may refuse files", room.confinement, _here),
    Check("libvirt daemon", "the connection that was asked for", room.daemon, _system),
    Check("daemon access", "the connection that was asked for", room.daemon_access, _system),
    Check("storage access", "QEMU runs as another user there", room.storage_access, _system),
    Check("file ownership", "images are shared between labs", room.ownership, _system),
    Check("tun device", "network cards on bridges", room.tun, _system),
    Check("bridges", "networks of the lab", room.bridges, _system),
)


def examine(
    lab: Lab | None,
    places: Places,
    *,
    connect: str | None = None,
    mirror: str | None = None,
    probe: bool = True,
    ground: Ground | None = None,
) -> tuple[Row, ...]:
    """All rows that matter for the lab, or for every lab when there is none.

    `connect` and `mirror` are as for `up`; `probe` allows the KVM probe, which takes seconds the first time after a
    boot. `ground` is the host, for tests. Raises LabError when the lab's systems cannot plan it, or no lab can run at
    `connect`.
    """
    ground = ground or Ground(places)
    needs = needs_of(lab, places, ground.environ, connect=connect, mirror=mirror)
    if _here(needs) or connect is None:
        return (*(row(check, ground, needs) for check in CHECKS if check.when(needs)), _proof(places, probe))
    uri = FarUri.parse(connect)
    here = replace(needs, footprint=0)  # what nodes write is there
    rows = [row(check, ground, here) for check in CHECKS if check.when(here)]
    return (*rows, *(Row(*found) for found in rows_there(uri, places, needs, probe=probe)))


def row(check: Check, ground: Ground, needs: Needs) -> Row:
    """One check, done."""
    found = check.look(ground, needs)
    return Row(check.name, found.status, found.seen, check.why, found.fix)


def lacks(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows without which the lab cannot run."""
    return tuple(row for row in rows if row.status == "missing")


def _proof(places: Places, probe: bool) -> Row:
    why = "KVM is used only after a guest booted on it"
    try:
        found = verdict(places, probe=probe)
    except LabError as error:
        return Row("accelerator", "unknown", error.message, why, error.hint or "")
    if found.accelerator == "kvm":
        return Row("accelerator", "ok", f"KVM: {found.reason}", why, "")
    if not found.proven:
        return Row(
            "accelerator", "unknown", f"emulation (TCG): {found.reason}", why, found.fix or "nestlab doctor --probe"
        )
    return Row("accelerator", "warn", f"emulation (TCG), several times slower: {found.reason}", why, found.fix)
