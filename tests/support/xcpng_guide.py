"""Passages of XCP-ng's guide "XCP-ng in a VM", as they were read on 2026-11-21, without their marks for bold type: what
messages quote has to stand here, under its section. Copied by hand, not made of the table of settings."""

from __future__ import annotations

GUIDE = "https://github.com/xcp-ng/xcp-ng-org/blob/2c82da6/docs/guides/xcpng-in-a-vm.md"
_HYPERV = "Nested XCP-ng using Microsoft Hyper-V"
PASSAGES = {
    "Nested XCP-ng using XCP-ng": """
* create a new VM from CentOS 7 template with minimum 2 vCPU and 4GB RAM
* change disk size to 100GB
""",
    "Nested XCP-ng using Xen": """
memory = 4096
""",
    "Nested XCP-ng using VMware, XCP-ng virtual machine settings": """
* The virtual disk must be at least 60 GB in size to install XCP-ng !
* LSI Logic SAS controller is chosen to maximize at possible the compatibility and the performance. vNVMe controller \
works too, it can reduce CPU overhead and latency. PVSCSI controller won't work.
""",
    _HYPERV: """
This feature is not available with Windows 8 and Windows Server 2012/2012 R2 AND an Intel CPU is required (AMD not \
supported yet).
""",
    f"{_HYPERV}, XCP-ng virtual machine settings": """
The configuration of the virtual machine uses legacy components. Indeed XenServer / XCP-ng does not have the necessary \
drivers to work on a "modern" Hyper-V virtual hardware .
* Memory : 4GB minimum
""",
    f"{_HYPERV}, CPU and Network settings": """
Important : This settings has to be applied even if you use the NAT Default Switch (since Windows 10 1709)
""",
    "Nested XCP-ng using QEMU/KVM, XCP-ng virtual machine settings": """
* Boot loader: use BIOS rather than UEFI. The installation may complete successfully but it may not boot up.
* Memory : 4GB minimum / 8GB recommended
* Disk: at least 50GiB
""",
}
