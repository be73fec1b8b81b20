"""What the releases' installers understand, as data. The generator asks here; the judge has a table of its own.

Sources: the command classes of pykickstart 3.78 for each release, and anaconda's branches rhel6-branch, rhel7-branch,
rhel-8, rhel-9, rhel-10 and main (45.21).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NtpBy = Literal["script", "timezone", "timesource"]


@dataclass(frozen=True, slots=True)
class Release:
    """`handler` is pykickstart's name. `generation` orders the installers: 6 to 10, and 11 for Fedora. Sizes are MiB.

    `free_md_names`: arrays may be called boot or pv00; before, only mdN. `biosboot_each_disk`: the storage check looks
    at every disk that gets a boot loader, not at the first alone (rhel-10 and main, storage/checker/utils.py).
    `sysroot`: where the new system is mounted in %post --nochroot.
    """

    name: str
    title: str
    handler: str
    generation: int
    boot_default: int
    boot_least: int
    efi_least: int
    filesystem: Literal["ext4", "xfs"]
    sysroot: str
    ntp: NtpBy
    text_mode: str = "text --non-interactive"
    grub2: bool = True
    install_command: bool = False
    authentication: str | None = None
    console_keymap: bool = True
    eula: bool = True
    disklabel: bool = True
    free_md_names: bool = True
    chunk_size: bool = True
    efi_on_raid: bool = True
    bridges: bool = True
    ipv6_gateway: bool = True
    interface_name: bool = True
    ssh_key_command: bool = True
    pre_install: bool = True
    on_error: bool = True
    by_mac: bool = True
    prefixed: bool = True
    plain_console: bool = True
    systemd: bool = True
    yescrypt: bool = True
    biosboot_each_disk: bool = False
    nobase: bool = False


EL6 = Release(
    name="el6", title="Enterprise Linux 6", handler="RHEL6", generation=6, boot_default=500, boot_least=200,
    efi_least=50, filesystem="ext4", sysroot="/mnt/sysimage", ntp="script", text_mode="text", grub2=False,
    install_command=True, authentication="authconfig --enableshadow --passalgo=sha512", console_keymap=False,
    eula=False, disklabel=False, free_md_names=False, chunk_size=False, efi_on_raid=False, bridges=False,
    ipv6_gateway=False, interface_name=False, ssh_key_command=False, pre_install=False, on_error=False, by_mac=False,
    prefixed=False, plain_console=False, systemd=False, yescrypt=False, nobase=True,
)  # fmt: skip
EL7 = Release(
    name="el7", title="Enterprise Linux 7", handler="RHEL7", generation=7, boot_default=1024, boot_least=200,
    efi_least=50, filesystem="xfs", sysroot="/mnt/sysimage", ntp="timezone", text_mode="text",
    install_command=True, authentication="authconfig --enableshadow --passalgo=sha512", ssh_key_command=False,
    plain_console=False, yescrypt=False,
)  # fmt: skip
EL8 = Release(
    name="el8", title="Enterprise Linux 8", handler="RHEL8", generation=8, boot_default=1024, boot_least=512,
    efi_least=200, filesystem="xfs", sysroot="/mnt/sysroot", ntp="timezone",
)  # fmt: skip
EL9 = Release(
    name="el9", title="Enterprise Linux 9", handler="RHEL9", generation=9, boot_default=1024, boot_least=512,
    efi_least=200, filesystem="xfs", sysroot="/mnt/sysroot", ntp="timesource",
)  # fmt: skip
EL10 = Release(
    name="el10", title="Enterprise Linux 10", handler="RHEL10", generation=10, boot_default=1024, boot_least=512,
    efi_least=200, filesystem="xfs", sysroot="/mnt/sysroot", ntp="timesource", biosboot_each_disk=True,
)  # fmt: skip
F44 = Release(
    name="f44", title="Fedora 44", handler="F44", generation=11, boot_default=2048, boot_least=1024,
    efi_least=500, filesystem="xfs", sysroot="/mnt/sysroot", ntp="timesource", biosboot_each_disk=True,
)  # fmt: skip
F45 = Release(
    name="f45", title="Fedora 45", handler="F45", generation=11, boot_default=2048, boot_least=1024,
    efi_least=500, filesystem="xfs", sysroot="/mnt/sysroot", ntp="timesource", biosboot_each_disk=True,
)  # fmt: skip

RELEASES: Mapping[str, Release] = {each.name: each for each in (EL10, EL9, EL8, EL7, EL6, F45, F44)}
