"""The one table of documented settings for nested hosts: L0 by L0, each with its source and what contradicts it."""

from __future__ import annotations

from typing import Any

from builder.hypervisors.setting import ANY, Setting

_GUIDE = "https://github.com/xcp-ng/xcp-ng-org/blob/2c82da6/docs/guides/xcpng-in-a-vm.md"
_GUIDE_DATE = "2026-07-31"
_READ = "2026-11-21"
_XAPI_DATE = "2024-07-16"  # of v24.19.2
_XL_CFG = "https://xenbits.xen.org/docs/4.17-testing/man/xl.cfg.5.html"
_ABOUT = (
    "https://github.com/MicrosoftDocs/Virtualization-Documentation/blob/2ae1fba/virtualization/hyper-v-on-windows/"
    "about/index.md"
)
_GENERATIONS = (
    "https://learn.microsoft.com/en-us/windows-server/virtualization/hyper-v/plan/"
    "should-i-create-a-generation-1-or-2-virtual-machine-in-hyper-v"
)
_LEARN = "https://learn.microsoft.com/en-us/virtualization/hyper-v-on-windows/user-guide/enable-nested-virtualization"
_NESTED_VMS = "https://communities.vmware.com/docs/DOC-8970"
_QM = "https://pve.proxmox.com/pve-docs/qm.1.html"
_LATER = "2026-11-22"
_SECTIONS = {
    "kvm": "Nested XCP-ng using QEMU/KVM, XCP-ng virtual machine settings",
    "xen": "Nested XCP-ng using Xen",
    "xcpng": "Nested XCP-ng using XCP-ng",
    "esxi": "Nested XCP-ng using VMware, XCP-ng virtual machine settings",
    "workstation": "Nested XCP-ng using VMware, Configuration under VMware Workstation Pro 14/15",
    "hyperv": "Nested XCP-ng using Microsoft Hyper-V, XCP-ng virtual machine settings",
}


def _guide(hypervisor: str, key: str, value: str, says: str, contradicted: str = "", **more: Any) -> Setting:
    """A row of the guide of XCP-ng."""
    given = {"section": _SECTIONS[hypervisor], "document": _GUIDE, "date": _GUIDE_DATE, "system": "xcpng", **more}
    return Setting(key=key, hypervisor=hypervisor, value=value, says=says, contradicted=contradicted, **given)


def _other(hypervisor: str, key: str, value: str, says: str, document: str, section: str, **more: Any) -> Setting:
    """A row of another document, about every Xen host."""
    given = {"system": ANY, "date": _READ, **more}
    return Setting(key=key, hypervisor=hypervisor, value=value, says=says, document=document, section=section, **given)


_KVM = (
    _guide(
        "kvm", "cpu_model", "host-passthrough",
        "host-model or host-passthrough is mandatory, host-passthrough preferred",
        "libvirt 9.0 refuses host-passthrough without KVM, and Xen 4.17 panics on the EPYC model that host-model "
        "becomes under emulation: there the CPU is 'maximum' without SMAP, on Xen hosts without XSAVE too, "
        "whatever the lab file says.",
    ),
    _guide(
        "kvm", "cpu_model", "host-model", "host-model will do, too",
        "Under emulation it becomes the EPYC model, on which Xen 4.17 panics.", rule="allowed",
    ),
    _guide(
        "kvm", "memory", "8GiB", "4 GiB at least, 8 GiB recommended",
        "xcp-ng-tests installs with 4 GiB (template 'Other install media', on Xen).", rule="advised",
        words="4GB minimum / 8GB recommended",
    ),
    _guide("kvm", "memory", "4GiB", "4 GiB at least", rule="least", words="4GB minimum / 8GB recommended"),
    _guide(
        "kvm", "disks.bus", "lsilogic", "LSI Logic SCSI; virtio drivers are not in the kernel of XCP-ng",
        "MonkeyBox (mbx) runs XCP-ng 8.3 on q35 with a virtio disk. OVMF has no driver for this controller: a UEFI "
        "node cannot boot from it. Of the two controllers of that name this is libvirt's lsilogic (53c895a); "
        "VMware's, lsisas1068, shows no disk without a SAS address.",
    ),
    _guide(
        "kvm", "disks.size", "50GiB", "50 GiB at least",
        "The same guide asks for 60 GB under VMware and 100 GB under XCP-ng. The disk file is thin: it grows as it is "
        "written.", rule="least",
        words="at least 50GiB",
    ),
    _guide(
        "kvm", "management_nic", "e1000", "E1000",
        "The same guide tells of instability with Realtek under XCP-ng, and of vmxnet3 that works under VMware.",
    ),
    _guide(
        "kvm", "firmware", "bios", "BIOS rather than UEFI: an installation may complete and then not boot",
        "xcp-ng-tests installs 8.x with UEFI on an NVMe disk (on Xen); MonkeyBox uses q35 for 8.3.", rule="advised",
        words="use BIOS rather than UEFI. The installation may complete successfully but it may not boot up.",
    ),
    _guide(
        "kvm", "kvm.nested.intel", "Y", "on Intel, /sys/module/kvm_intel/parameters/nested has to say Y: modprobe -r "
        "kvm_intel with no machine running, modprobe kvm_intel nested=1, and for good 'options kvm_intel nested=1' in "
        "/etc/modprobe.d/kvm.conf",
        "The kernel's Documentation/virt/kvm/x86/running-nested-guests.rst: on by default since Linux 4.20. The file "
        "says nothing of whether it works: only a guest that boots does.",
        section="Nested XCP-ng using QEMU/KVM, Configure KVM nested virtualization (Intel)",
    ),
    _guide(
        "kvm", "kvm.nested.amd", "1", "on AMD, on recent kernels, AMD-V in the firmware's setup is all that it takes: "
        "/sys/module/kvm_amd/parameters/nested says 1",
        "Kernels write Y as well as 1. The file says nothing of whether it works: only a guest that boots does.",
        section="Nested XCP-ng using QEMU/KVM, Configure KVM nested virtualization (AMD)",
    ),
    _guide(
        "kvm", "kvm.ept", "required", "on Intel, EPT is required (egrep -wo 'vmx|ept' /proc/cpuinfo)",
        section="Nested XCP-ng using QEMU/KVM, Configure KVM nested virtualization (Intel)",
    ),
    _other(
        "kvm", "proxmox.scsihw", "lsi", "the default controller is lsi, which is the LSI 53C895A", _QM, "Hard Disk",
        contradicted="The wizard of Proxmox proposes VirtIO SCSI, for which XCP-ng has no driver.",
    ),
    _other(
        "kvm", "proxmox.cpu", "host", "the CPU type host passes the machine's own flags on; nesting needs them", _QM,
        "CPU Type",
    ),
    _other(
        "kvm", "iommu", "true", "the model intel is for q35 guests; intremap turns interrupt remapping on, since 3.4, "
        "and wants the I/O APIC of QEMU (ioapic driver='qemu')", "https://libvirt.org/formatdomain.html#iommu-devices",
        "IOMMU devices", rule="allowed", date=_LATER,
        contradicted="Seen to work under emulation with Xen 4.20, AHCI disks, e1000 and e1000e; the LSI 53C895A, which "
        "is documented for nested hosts, does not work behind it; lsisas1068 and virtio were not tried.",
    ),
    _other(
        "kvm", "proxmox.viommu", "intel", "vIOMMU lets a level-1 VM pass devices to level-2 VMs; intel wants q35", _QM,
        "vIOMMU (emulated IOMMU)", date=_LATER,
        contradicted="It came with Proxmox VE 8.1, as far as is known: qm of an older one refuses it. Cards are "
        "behind one PCI bridge there, so that none can be given to a guest by itself.",
    ),
)  # fmt: skip

_XEN = (
    _guide("xen", "xl.type", "hvm", "a standard HVM guest (builder='hvm')",
           "xl.cfg(5) has type=\"hvm\" since Xen 4.10 and calls builder deprecated; type is what is written."),
    _guide("xen", "xl.nestedhvm", "1", "nestedhvm=1: hardware virtualization shown to the guest, off by default",
           "Xen calls nested virtualization experimental. Prints of the guide have lost this line.", system=ANY),
    _guide("xen", "xl.hap", "1", "hap=1: hardware assisted paging", system=ANY),
    _guide("xen", "memory", "4GiB", "memory = 4096", "8 GiB are recommended under KVM.", rule="least",
           words="memory = 4096"),
    _guide("xen", "xl.vif.type", "ioemu", "the vif has to be of type ioemu",
           "xl.cfg(5): ioemu is what HVM guests get by default, with a PV card beside it."),
    _guide("xen", "management_nic", "e1000", "Realtek may be unstable; Intel e1000",
           "The section about Xen itself does not name a model; xl's default is rtl8139, the Realtek that the section "
           "about XCP-ng warns of.", section=_SECTIONS["xcpng"]),
    _guide("xen", "disks.bus", "ide", "the disk is hdc and the CD-ROM hdb: emulated IDE"),
    _other("xen", "disks.bus", "sata", "hdtype=\"ahci\" shows the hd disks on AHCI instead of IDE", _XL_CFG, "hdtype",
           rule="allowed"),
    _guide("xen", "xl.disk", "hdc", "the first disk is hdc",
           "With more disks than one the BIOS starts from hda: then they are hda, hdc and hdd."),
    _guide("xen", "xl.cdrom", "hdb", "the CD-ROM is hdb"),
    _guide("xen", "xl.stdvga", "0", "no standard VGA card"),
    _guide("xen", "xl.serial", "pty", "the serial port is a pseudo-terminal, which `xl console` shows"),
    _guide("xen", "xl.on_poweroff", "destroy", "on_poweroff = 'destroy'"),
    _guide("xen", "xl.on_reboot", "destroy", "on_reboot = 'destroy': the installer's reboot ends the domain",
           "A host that cannot be rebooted is of little use: destroy holds for the installation, after which start.sh "
           "starts the node again, and from then on it is restart."),
    _guide("xen", "xl.on_crash", "destroy", "on_crash = 'destroy'"),
)  # fmt: skip

_XCPNG = (
    _guide("xcpng", "xe.template", "CentOS 7", "a new VM from the template CentOS 7",
           "xcp-ng-tests takes 'Other install media'. Releases drop old templates: where CentOS 7 is gone, create.sh "
           "takes that one."),
    _guide("xcpng", "cpus", "2", "2 vCPU at least", rule="least", words="minimum 2 vCPU and 4GB RAM"),
    _guide("xcpng", "memory", "4GiB", "4 GB of RAM at least", "8 GiB are recommended under KVM.", rule="least",
           words="minimum 2 vCPU and 4GB RAM"),
    _guide("xcpng", "xe.memory", "fixed", "dynamic-min = dynamic-max = static-max: nesting needs fixed memory",
           system=ANY, document="https://github.com/xapi-project/xen-api/blob/v24.19.2/ocaml/xapi/xapi_vm.ml",
           section="CP-18860: check memory limits if using nested_virt on start", date=_XAPI_DATE),
    _guide("xcpng", "disks.size", "100GB", "change the disk size to 100 GB",
           "50 GiB under KVM and 60 GB under VMware in the same guide; the installer refuses less than 46 GiB.",
           rule="advised", words="change disk size to 100GB"),
    _guide("xcpng", "xe.nested", "exp-nested-hvm", "platform:exp-nested-hvm=true",
           "That key is nowhere in xen-api of 8.3 and later, which reads platform:nested-virt. Without --l0 both are "
           "set, as xcp-ng-tests does.", releases=("8.2",)),
    _guide("xcpng", "xe.nested", "nested-virt", "platform:nested-virt=true", "The guide still names exp-nested-hvm. "
           "8.3.0 was released without nesting; updates brought it back.", system=ANY, releases=("8.3",),
           document="https://github.com/xapi-project/xen-api/blob/v24.19.2/ocaml/xapi/vm_platform.ml",
           section="nested_virt", date=_XAPI_DATE),
    _guide("xcpng", "management_nic", "e1000", "platform:nic_type=e1000: the default Realtek may be unstable",
           "With UEFI, e1000 is the default, and two emulated cards are the most."),
    _guide("xcpng", "disks.bus", "ide", "emulated IDE: the first four devices, one of them the CD-ROM",
           "With UEFI the device model shows NVMe disks instead (xcp-ng-tests finds nvme0n1).",
           section="piix3-ide-xen", date=_XAPI_DATE,
           document="https://github.com/xapi-project/xen-api/blob/v24.19.2/ocaml/xenopsd/xc/device.ml"),
)  # fmt: skip

_VMWARE_BOTH = tuple(
    row
    for l0 in ("esxi", "workstation")
    for row in (
        _guide(l0, "vmx.vhv.enable", "TRUE", "expose hardware assisted virtualization to the guest OS",
               section=_SECTIONS["esxi"] if l0 == "esxi" else _SECTIONS["workstation"]),
        _other(l0, "vmx.virtualHW.version", "10", "virtual hardware 9 or later has virtualized HV", _NESTED_VMS,
               "Running Guest Hypervisors with Virtualized HV",
               contradicted="Version 10 is what ESXi 5.5 and Workstation 10 brought; newer ones still run it, and "
               "without a version number that they know, older ones refuse the machine."),
        _other(l0, "vmx.virtualHW.version.nvme", "13", "vNVMe comes with virtual hardware 13", date="2017-10-18",
               document="https://blogs.virtualmaestro.in/2017/10/18/vsphere-6-5-and-vnvme-controller/",
               section="vSphere and NVMe"),
        _other(l0, "vmx.vvtd.enable", "TRUE", "the key of a machine's virtual IOMMU",
               "https://kb.vmware.com/s/article/88161", "Solution", date=_LATER,
               contradicted="The article, read in a copy, is about machines with a vGPU. Which cards of a machine its "
               "IOMMU tells apart no document says."),
        _other(l0, "vmx.virtualHW.version.iommu", "14", "virtualization-based security, which depends on the virtual "
               "VT-d, needs ESXi 6.7 and hardware version 14",
               "https://docs.ansible.com/ansible/latest/collections/community/vmware/vmware_guest_module.html",
               "hardware/virt_based_security", date=_LATER, contradicted="That security wants EFI, too; whether the "
               "IOMMU alone does, no document says."),
        _guide(l0, "vmx.vpmc.enable", "FALSE", "virtualized CPU performance counters are optional",
               section=_SECTIONS["esxi"]),
        _guide(l0, "vmx.sockets", "2", "two CPU sockets, for the speed of the vCPUs", section=_SECTIONS["esxi"]),
        _guide(l0, "memory", "4GiB", "4 GiB at least", "Said of KVM and Hyper-V; the section about VMware has a "
               "picture only.", rule="least", section=_SECTIONS["hyperv"], words="4GB minimum"),
        _guide(l0, "disks.size", "60GB", "the virtual disk must be at least 60 GB",
               "50 GiB under KVM, 100 GB under XCP-ng in the same guide.", rule="least", section=_SECTIONS["esxi"],
               words="The virtual disk must be at least 60 GB in size to install XCP-ng"),
        _guide(l0, "disks.bus", "lsisas1068", "LSI Logic SAS, for compatibility", section=_SECTIONS["esxi"]),
        _guide(l0, "disks.bus", "nvme", "vNVMe works, too, and takes less of the CPU", rule="allowed",
               section=_SECTIONS["esxi"]),
        _guide(l0, "disks.bus", "pvscsi", "PVSCSI won't work", rule="refused", section=_SECTIONS["esxi"],
               words="PVSCSI controller won't work"),
        _guide(l0, "management_nic", "e1000", "ethernet0.virtualDev = \"e1000\"",
               section=_SECTIONS["workstation"]),
        _guide(l0, "management_nic", "vmxnet3", "VMXNET3 works, too; useful for much traffic between hosts",
               rule="allowed", section=_SECTIONS["esxi"]),
    )
)  # fmt: skip
_VMWARE = (
    *_VMWARE_BOTH,
    _guide("esxi", "esxi.promiscuous", "accept", "promiscuous mode accepted, on the port group or the vSwitch: the "
           "most important step, without which guests have no network",
           "VMware asks for forged transmits and MAC changes, too, where a guest sends with more than its card's "
           "address.", section="Nested XCP-ng using VMware, Networking settings"),
    _guide("workstation", "vmx.hypervisor.cpuid.v0", "FALSE", "hypervisor.cpuid.v0 = \"FALSE\", beside the CPU option"),
    _guide("workstation", "vmx.ethernet.noPromisc", "FALSE", "ethernet0.noPromisc = \"FALSE\" for each card",
           "On Linux hosts the device files /dev/vmnet* must be writable for the user as well."),
)  # fmt: skip

_OLD = ("2016", "2019", "10")
_HYPERV = (
    _guide("hyperv", "hyperv.generation", "1", "generation 1, even though newer CentOS works in generation 2"),
    _other("hyperv", "firmware", "uefi", "generation 1 has a BIOS only; UEFI firmware is generation 2's", _GENERATIONS,
           "What's the difference in device support?", rule="refused", date="2025-06-18"),
    _guide("hyperv", "memory", "4GiB", "4 GB at least", rule="least", words="4GB minimum"),
    _guide("hyperv", "hyperv.dynamic_memory", "off", "dynamic memory disabled: with nesting Hyper-V turns it off"),
    _guide("hyperv", "disks.bus", "ide", "disk controller: IDE",
           "It carries four devices, the CD-ROM among them; XCP-ng has no driver for Hyper-V's SCSI controller."),
    _guide("hyperv", "disks.bus", "scsi", "XenServer and XCP-ng have no drivers for modern Hyper-V hardware",
           rule="refused", words="XenServer / XCP-ng does not have the necessary drivers"),
    _guide("hyperv", "management_nic", "legacy", "network controller: legacy network card",
           "It is an emulated DEC 21140 at 100 Mbit/s."),
    _guide("hyperv", "hyperv.ExposeVirtualizationExtensions", "$true", "Set-VMProcessor -ExposeVirtualizationExtensions"
           " $true, once the machine was created, while it is off", system=ANY,
           section="Nested XCP-ng using Microsoft Hyper-V, CPU and Network settings"),
    _guide("hyperv", "hyperv.MacAddressSpoofing", "On", "MAC address spoofing on, also on the NAT Default Switch",
           system=ANY, section="Nested XCP-ng using Microsoft Hyper-V, CPU and Network settings"),
    _guide("hyperv", "hyperv.uplink", "Default Switch", "the NAT Default Switch, since Windows 10 1709",
           "Nesting works from 1607 on: 1607 and 1703 have no such switch.", rule="allowed", releases=("10", "11"),
           system=ANY, section="Nested XCP-ng using Microsoft Hyper-V, CPU and Network settings",
           words="NAT Default Switch (since Windows 10 1709)"),
    _other("hyperv", "hyperv.uplink", "Default Switch", "the default network (a NAT switch) is among what is only "
           "available on Windows 10, and not on Windows Server", _ABOUT,
           "Differences between Hyper-V on Windows and Hyper-V on Windows Server", rule="refused", date="2018-04-07",
           releases=("2016", "2019", "2022", "2025"), contradicted="The page is older than Windows Server 2019."),
    _guide("hyperv", "hyperv.build", "14393", "Windows 10 1607 or Windows Server 2016 at least; not Windows 8, not "
           "Server 2012 or 2012 R2", system=ANY, section="Nested XCP-ng using Microsoft Hyper-V"),
    _guide("hyperv", "hyperv.release", "8", "not available with Windows 8 and Windows Server 2012/2012 R2",
           rule="refused", system=ANY, section="Nested XCP-ng using Microsoft Hyper-V",
           words="not available with Windows 8 and Windows Server 2012/2012 R2"),
    _guide("hyperv", "hyperv.release", "2012", "not available with Windows 8 and Windows Server 2012/2012 R2",
           rule="refused", system=ANY, section="Nested XCP-ng using Microsoft Hyper-V",
           words="not available with Windows 8 and Windows Server 2012/2012 R2"),
    _guide("hyperv", "hyperv.release", "2012R2", "not available with Windows 8 and Windows Server 2012/2012 R2",
           rule="refused", system=ANY, section="Nested XCP-ng using Microsoft Hyper-V",
           words="not available with Windows 8 and Windows Server 2012/2012 R2"),
    _guide("hyperv", "hyperv.cpu", "amd", "an Intel CPU is required; AMD is not supported", "True of Windows Server "
           "2016 and 2019 and of Windows 10. Since Windows Server 2022 and Windows 11, AMD works.", rule="refused",
           releases=_OLD, system=ANY, section="Nested XCP-ng using Microsoft Hyper-V",
           words="an Intel CPU is required (AMD not supported yet)"),
    _other("hyperv", "hyperv.cpu", "amd", "AMD EPYC and Ryzen: Windows Server 2022 or Windows 11, and version 9.3 of "
           "the machine's configuration", _LEARN, "AMD EPYC / Ryzen processor or later", rule="allowed",
           releases=("2022", "2025", "11"), contradicted="Another page of the same site asks for version 10.0."),
    _other("hyperv", "hyperv.amd_build", "20348", "Windows Server 2022 (build 20348) or Windows 11 for AMD", _LEARN,
           "AMD EPYC / Ryzen processor or later"),
)  # fmt: skip

SETTINGS: tuple[Setting, ...] = (*_KVM, *_XEN, *_XCPNG, *_VMWARE, *_HYPERV)
