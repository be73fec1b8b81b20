"""A lab under Hyper-V: PowerShell that makes, starts and removes generation 1 machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from builder.hypervisors.fit import quote
from builder.hypervisors.l0 import L0, Machine, Site, machines, network_name
from builder.hypervisors.preparing import prepare
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import library
from builder.model.lab import Lab, Nic
from builder.model.plan import File, Finding
from builder.render.quoting import powershell

_IDE = ((0, 0), (0, 1), (1, 0))  # controller, location; 1.1 is the CD-ROM's
_DEFAULT_SWITCH = "Default Switch"
# Windows PowerShell 5.1 takes a file without this mark for one in the code page of its machine.
_MARK = "\ufeff"


class HyperV:
    """`nestlab export --to hyperv`."""

    l0 = L0(
        target="hyperv", title="Hyper-V",
        site=Site(folder="C:\\nestlab\\{lab}", uplink=_DEFAULT_SWITCH),
        buses={"ide": len(_IDE)}, nics={"legacy": 4}, releases=("2016", "2019", "2022", "2025", "10", "11"),
        image=("vhdx", "subformat=dynamic", "vhdx"), most_mtu=1500,  # of the emulated DEC 21140
    )  # fmt: skip

    def kind(self, site: Site) -> str:  # noqa: ARG002 - the protocol's
        return "hyperv"

    def check(self, lab: Lab, site: Site) -> tuple[Finding, ...]:  # noqa: ARG002 - the switch is the host's
        """Whether the usual switch is there. A host of an unknown release is asked by create.ps1 alone."""
        if not site.release or site.uplink != _DEFAULT_SWITCH:
            return ()
        found = []
        for row in Documented("hyperv", "", site.release).find("hyperv.uplink"):
            if row.rule == "refused":
                lacks = f"Windows Server {site.release} has no {_DEFAULT_SWITCH} of its own"
            elif site.release == "10":
                lacks = f"the first releases of Windows 10 have no {_DEFAULT_SWITCH}"
            else:
                continue
            hint = "give --uplink the name of a switch of the host; Get-VMSwitch lists them"
            found.append(Finding(code="l0-uplink", severity="warning", message=f"{lacks}: {quote(row)}", hint=hint))
        return tuple(found)

    def export(self, lab: Lab, site: Site) -> tuple[File, ...]:
        nodes = machines(lab)
        common = File(path="lib.ps1", content=_MARK + library("hyperv.ps1"))
        return (*_scripts(lab, site, nodes), common, *prepare(nodes, self.l0.image))


def machine_value(machine: Machine, lab: Lab, site: Site) -> dict[str, object]:
    """What New-LabVM is told about one machine."""
    node = machine.node
    documented = Documented("hyperv", node.system, site.release)
    disks = [
        {"Path": _path(site, f"{disk}.vhdx"), "Size": machine.disk_size(number), "Image": machine.from_image,
         "Controller": controller, "Location": location}
        for number, (disk, (controller, location)) in enumerate(zip(machine.disks, _IDE, strict=False))
    ]  # fmt: skip
    cards: list[dict[str, object]] = [
        {"Name": "management", "Switch": site.uplink, "Mac": _mac(node.management_mac), "Vlan": 0, "Trunk": ""}
    ]
    for number, nic in enumerate(node.nics, 1):
        cards.append({
            "Name": f"{nic.network}-{number}", "Switch": network_name(lab, nic.network), "Mac": _mac(nic.mac),
            "Vlan": nic.vlan or 0, "Trunk": _trunk(nic),
        })  # fmt: skip
    return {
        "Name": machine.name, "Lab": lab.name, "Folder": site.folder,
        "Generation": int(documented["hyperv.generation"]),
        "Memory": node.memory, "DynamicMemory": documented["hyperv.dynamic_memory"] != "off", "Cpus": node.cpus,
        "Expose": documented["hyperv.ExposeVirtualizationExtensions"] == "$true",
        "Spoofing": documented["hyperv.MacAddressSpoofing"],
        "Medium": _path(site, machine.medium) if machine.installs else "",
        "Console": f"\\\\.\\pipe\\{machine.name}", "Disks": disks, "Cards": cards,
    }  # fmt: skip


def literal(value: object, indent: str = "") -> str:
    """A value as PowerShell writes it: texts inert, numbers, truth, lists and tables."""
    inner = indent + "    "
    if isinstance(value, bool):
        return "$true" if value else "$false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        rows = "".join(f"{inner}{key} = {literal(each, inner)}\n" for key, each in value.items())
        return f"@{{\n{rows}{indent}}}"
    if isinstance(value, list):
        rows = ",\n".join(f"{inner}{literal(each, inner)}" for each in value)
        return f"@(\n{rows}\n{indent})" if value else "@()"
    return powershell(value)


def _path(site: Site, name: str) -> str:
    return f"{site.folder}\\{name}"


def _mac(address: str) -> str:
    return address.replace(":", "").upper()


def _trunk(nic: Nic) -> str:
    return ",".join(str(vlan) for vlan in nic.trunk)


def _script(name: str, about: str, lines: Iterable[str]) -> File:
    head = ["#Requires -RunAsAdministrator", "#Requires -Modules Hyper-V", f"# {about}",
            ". (Join-Path $PSScriptRoot 'lib.ps1')"]  # fmt: skip
    return File(path=name, content=_MARK + "\n".join([*head, *lines]) + "\n")


def _scripts(lab: Lab, site: Site, nodes: tuple[Machine, ...]) -> list[File]:
    documented = Documented("hyperv", "", site.release)
    mine = f"-Lab {powershell(lab.name)}"
    switches = [powershell(network_name(lab, network.name)) for network in lab.networks]
    create = [
        f"Assert-LabHost -Build {int(documented['hyperv.build'])} -AmdBuild {int(documented['hyperv.amd_build'])}",
        # Machines that wait for a switch of the host are not begun without it.
        f"Assert-LabSwitch -Name {powershell(site.uplink)}",
        f"New-Item -ItemType Directory -Force -Path {powershell(site.folder)} | Out-Null",
        *(f"New-LabSwitch -Name {name} {mine}" for name in switches),
        *(f"New-LabVM -Machine {literal(machine_value(machine, lab, site))}" for machine in nodes),
    ]
    names = [f"-Name {powershell(machine.name)} {mine}" for machine in nodes]
    disks = [powershell(_path(site, f"{disk}.vhdx")) for machine in nodes for disk in machine.disks]
    with_medium = [name for name, machine in zip(names, nodes, strict=True) if machine.installs]
    return [
        _script("create.ps1", f"Makes switches, disks and machines of the lab {lab.name}.", create),
        _script("start.ps1", "Starts the nodes. One with a medium installs itself: its disk, still empty, is tried "
                "first.", [f"Start-LabVM {name}" for name in names]),
        _script("eject.ps1", "Takes the media out.", [f"Dismount-LabMedium {name}" for name in with_medium]),
        _script("remove.ps1", "Removes machines, disks and switches of this lab. Media are kept.", [
            *(f"Remove-LabVM {name}" for name in reversed(names)),
            *(f"Remove-LabDisk -Path {disk}" for disk in disks),
            *(f"Remove-LabSwitch -Name {name} {mine}" for name in switches),
        ]),
    ]  # fmt: skip
