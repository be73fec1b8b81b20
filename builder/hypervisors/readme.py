"""README.md of an export: the order of things, what every setting is for, and what nobody has tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from builder.hypervisors.l0 import Exporter, Machine, Site, machines
from builder.hypervisors.settings import Documented
from builder.hypervisors.shell import call
from builder.hypervisors.vmware import vmnet
from builder.model.lab import Lab, MediumSource
from builder.model.plan import Finding

_SCRIPTS = {
    "create": "makes networks, disks and machines",
    "start": "starts the nodes, those first that others wait for",
    "finish": "waits for installers that switch their machine off, and starts it again",
    "eject": "takes the media out",
    "remove": "removes all that create made; media are kept",
}


def readme(
    exporter: Exporter,
    lab: Lab,
    site: Site,
    scripts: Iterable[str],
    findings: Iterable[Finding],
    switch_off: Mapping[str, bool],
) -> str:
    """`scripts` are the files of the export; `switch_off` says of each node that is installed whether its installer
    ends by switching the machine off (else it reboots)."""
    nodes = machines(lab)
    have = set(scripts)
    suffix = "ps1" if "create.ps1" in have else "sh"
    run = "powershell -ExecutionPolicy Bypass -File " if suffix == "ps1" else "sh "
    steps = [name for name in _SCRIPTS if f"{name}.{suffix}" in have]
    parts = [
        f"# {lab.name} on {exporter.l0.title}",
        "Made by `nestlab export` from the lab file. What judged it, and whether it was ever run on a real "
        f"{exporter.l0.title}, is in nestlab's matrix of proofs, and nowhere else.",
        "## Disks and media",
        _sources(lab, nodes),
        _fence("sh prepare.sh sources out"),
        f"Copy what is in `out` to this folder on the L0{_medium_place(exporter)}:",
        _fence(site.folder),
        "## Order",
        f"Copy this folder to the L0, too, and run there (each can be run again; {_rights(exporter)}):",
        _fence("\n".join(f"{run}{name}.{suffix}" for name in steps)),
        "\n".join(f"- `{name}.{suffix}` {_does(name, exporter)}." for name in steps),
        _endings(nodes, switch_off, have),
        *_vmnets(exporter, lab, site),
    ]
    notes = [f"- {finding.message}" for finding in findings]
    if notes:
        parts += ["## What to know before", "\n".join(notes)]
    parts += ["## Settings", _settings(exporter, lab, site)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _fence(text: str) -> str:
    return f"```\n{text}\n```"


def _does(step: str, exporter: Exporter) -> str:
    if step == "eject" and exporter.l0.target == "vmx":
        return "takes the media out of machines that are off: VMware's files are not to be edited while they are on"
    return _SCRIPTS[step]


def _vmnets(exporter: Exporter, lab: Lab, site: Site) -> list[str]:
    """Workstation's networks have numbers, and every lab begins with the same."""
    if exporter.kind(site) != "workstation" or not lab.networks:
        return []
    taken = [(network.name, vmnet(lab, network.name)) for network in lab.networks]
    return [
        "## Networks",
        "\n".join(f"- {name} is Workstation's `{number}`." for name, number in taken),
        f"Every exported lab counts from `{taken[0][1]}`: nodes of two labs on one host are on the same wires, where "
        "they see each other's frames and may have each other's addresses. Run one lab at a time, or give this one "
        "other numbers before `create.sh` is run: in its lines `network`, and in the lines `ethernet*.vnet` of each "
        "`.vmx` file.",
    ]


def _rights(exporter: Exporter) -> str:
    return "as administrator" if exporter.l0.target == "hyperv" else "as root"


def _medium_place(exporter: Exporter) -> str:
    return ", and the media (`.iso`) into an ISO storage repository of the pool" if exporter.l0.target == "xe" else ""


def _sources(lab: Lab, nodes: Iterable[Machine]) -> str:
    parts = ["On the machine with nestlab and qemu-img, put into a folder `sources`:"]
    for machine in nodes:
        node = machine.node
        if isinstance(node.source, MediumSource):
            words = [
                "media",
                "build",
                "LAB",
                node.name,
                "--iso",
                node.source.file_name or f"{node.system}-{node.release}.iso",
                "-o",
                f"sources/{machine.medium}",
            ]
            parts.append(f"`{machine.medium}`, the medium that installs {node.name} by itself:")
            parts.append(_fence(call("nestlab", *words)))
        elif machine.disks:
            names = " and ".join(f"`{disk}.qcow2`" for disk in machine.disks)
            disks, were = ("the disk", "it was") if len(machine.disks) == 1 else ("all disks", "they were")
            parts.append(
                f"{names}, {disks} of {node.name} as {were} when it ran here, with its keys. STATE is nestlab's state "
                "folder (`$XDG_STATE_HOME/nestlab`); keep a copy of the node's folder `ssh` before "
                f"`nestlab down {lab.name}`: root gets in by that key alone."
            )
            parts.append(_fence("\n".join(_taken(lab, machine))))
    return "\n\n".join(parts)


def _taken(lab: Lab, machine: Machine) -> list[str]:
    """Commands that take a node's disks out of a lab that is up."""
    node = machine.node
    return [
        "nestlab up LAB",
        call("nestlab", "exec", lab.name, node.name, "--", "poweroff"),
        *(
            f'qemu-img convert -O qcow2 "$STATE/labs/{lab.name}/nodes/{node.name}/disks/{disk.name}.qcow2" '
            f"sources/{file}.qcow2"
            for disk, file in zip(node.disks, machine.disks, strict=True)
        ),
    ]


def _endings(nodes: Iterable[Machine], switch_off: Mapping[str, bool], have: set[str]) -> str:
    lines = []
    for name in [machine.node.name for machine in nodes if machine.installs]:
        if f"{name}/install.cfg" in have:
            lines.append(
                f"- {name} installs itself under `install.cfg`, where the end of its installer ends the domain "
                "(on_reboot=destroy is documented). start.sh waits for that, and starts it from `host.cfg`."
            )
        elif switch_off.get(name):
            after = "run finish.sh" if "finish.sh" in have else "run eject and start again"
            lines.append(f"- {name}'s installer switches the machine off at its end: then {after}.")
        else:
            lines.append(f"- {name}'s installer reboots at its end, and the machine starts from its disk.")
    return "\n".join(lines)


def _settings(exporter: Exporter, lab: Lab, site: Site) -> str:
    """What the documents say, for every system of the lab."""
    lines = ["| Setting | Value | The document, in short | Against it |", "| --- | --- | --- | --- |"]
    rows = {
        (row.key, row.value, row.rule): row
        for system in sorted({node.system for node in lab.nodes})
        for row in Documented(exporter.kind(site), system, site.release).rows
    }
    for row in rows.values():
        shown = {"least": "at least ", "refused": "not ", "allowed": "or ", "advised": "better "}.get(row.rule, "")
        where = f" ({', '.join(row.releases)})" if row.releases and not site.release else ""
        source = f"[{row.section}]({row.document}), {row.date}"
        cells = [f"`{row.key}`", f"{shown}{row.value}{where}", f"{row.says} ({source})", row.contradicted]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
