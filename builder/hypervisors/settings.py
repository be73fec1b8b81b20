"""What the documents say a nested host wants, setting by setting: one table, with what contradicts it."""

from __future__ import annotations

from builder.model.lab import Value


class Setting(Value):
    """A documented setting of `system` on the L0 `hypervisor`. `key` is where it stands in a node of the lab file,
    `value` what it takes there, `says` what the document says in short. `date` is the last change of the document as
    it was read, `contradicted` what other sources or our own runs say against it."""

    key: str
    system: str
    hypervisor: str
    value: str
    says: str
    document: str
    section: str
    date: str
    contradicted: str = ""


_GUIDE = "https://github.com/xcp-ng/xcp-ng-org/blob/2c82da6/docs/guides/xcpng-in-a-vm.md"
_SECTION = "Nested XCP-ng using QEMU/KVM, XCP-ng virtual machine settings"


def _xcpng(key: str, value: str, says: str, contradicted: str = "") -> Setting:
    return Setting(
        key=key,
        system="xcpng",
        hypervisor="kvm",
        value=value,
        says=says,
        document=_GUIDE,
        section=_SECTION,
        date="2026-07-31",
        contradicted=contradicted,
    )


SETTINGS: tuple[Setting, ...] = (
    _xcpng(
        "cpu_model",
        "host-passthrough",
        "host-model or host-passthrough is mandatory, host-passthrough preferred",
        "libvirt 9.0 refuses host-passthrough without KVM, and Xen 4.17 panics on the EPYC model that host-model "
        "becomes under emulation: there the CPU is 'maximum' without SMAP, whatever the lab file says.",
    ),
    _xcpng(
        "memory",
        "8GiB",
        "4 GiB at least, 8 GiB recommended",
        "xcp-ng-tests installs with 4 GiB (template 'Other install media', on Xen).",
    ),
    _xcpng(
        "disks.bus",
        "lsilogic",
        "LSI Logic SCSI; virtio drivers are not in the kernel of XCP-ng",
        "MonkeyBox (mbx) runs XCP-ng 8.3 on q35 with a virtio disk. OVMF has no driver for this controller: a UEFI "
        "node cannot boot from it. Of the two controllers of that name this is libvirt's lsilogic (53c895a); "
        "VMware's, lsisas1068, shows no disk without a SAS address.",
    ),
    _xcpng(
        "disks.size",
        "50GiB",
        "50 GiB at least (the disk file is thin: it grows as it is written)",
        "The same guide asks for 60 GB under VMware and 100 GB under XCP-ng.",
    ),
    _xcpng(
        "management_nic",
        "e1000",
        "E1000",
        "The same guide tells of instability with Realtek under XCP-ng, and of vmxnet3 that works under VMware.",
    ),
    _xcpng(
        "firmware",
        "bios",
        "BIOS rather than UEFI: an installation may complete and then not boot",
        "xcp-ng-tests installs 8.x with UEFI on an NVMe disk (on Xen); MonkeyBox uses q35 for 8.3.",
    ),
)


def settings(*, system: str | None = None, hypervisor: str | None = None) -> tuple[Setting, ...]:
    """The rows for a system and an L0, or for any."""
    return tuple(s for s in SETTINGS if system in (None, s.system) and hypervisor in (None, s.hypervisor))
