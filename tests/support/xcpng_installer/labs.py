"""Labs of hosts that the stand-in installs, small enough for emulation: as few things as say everything."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Firmware = Literal["bios", "uefi"]
# Left out by the checks of labs/checks/test_xcpng.py on a host of the stand-in, each with its reason.
LEFT_OUT = {
    "test_xen_was_started_with_the_words_of_the_menu": "no xl here",
    "test_the_storage_repository_is_there_and_attached": "no xe here",
    "test_services_are_on_and_off_as_asked_for": "no systemd here",
    "test_xapi_finished_its_first_start": "no xe here",
    "test_xapi_knows_the_management_interface": "no xe here",
}
MARK = "/root/written-by-a-script"


def lab_text(medium: Path, release: str, firmware: Firmware, *, raid: bool = False, scripts: Path | None = None) -> str:
    """One host called `host`, with a fixed address, names and time of its own. `scripts`: a folder to write one into,
    which leaves `MARK` on the host."""
    disks = ["system"] if not raid else ["left", "right", "guests"]
    lines = [
        f"name: stand-in-{release.replace('.', '-')}-{firmware}{'-raid1' if raid else ''}",
        "description: A host of XCP-ng's stand-in installer.",
        "nodes:",
        "  host:",
        "    system: xcpng",
        f'    release: "{release}"',
        f"    firmware: {firmware}",
        "    memory: 4GiB",
        "    xen: {dom0_memory: 2GiB}",
        f"    source: {{medium: {medium}}}",
        "    disks:",
        *(f"      - {{name: {name}, size: 60GiB}}" for name in disks),
        *(["    raid:", "      - {name: system, level: 1, disks: [left, right]}"] if raid else []),
        "    install:",
        "      hostname: host-a.lab.example",
        "      timezone: Europe/Paris",
        "      keyboard: fr",
        "      ntp: [ntp.example.org, 192.0.2.123]",
        "      network: {address: 10.0.2.15/24, gateway: 10.0.2.2, nameservers: [10.0.2.3]}",
        f"      disk_names: {'by-id' if firmware == 'uefi' else 'kernel'}",
        *(["      guest_disks: [guests]"] if raid else []),
    ]
    if scripts is not None:
        (scripts / "mark.sh").write_text(f'#!/bin/bash\necho "$XS_STAGE $#" >"$1{MARK}"\n')
        lines.append(f"      at_files: [{{file: {scripts / 'mark.sh'}}}]")
    return "\n".join(lines) + "\n"
