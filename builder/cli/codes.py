"""What each code of a problem means, at more length than its message has room for. A test holds this table and the
codes that are used together."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    # The file as a file.
    "lab-file": "The lab file is not there, is a folder or a device, or may not be read.",
    "lab-file-size": "Lab files are read up to 4 MiB: a lab of a thousand nodes has a tenth of that.",
    "lab-encoding": "Lab files are UTF-8 text. `file -i FILE` tells what a file is, `iconv` turns it into UTF-8.",
    "lab-control": "A character that cannot be seen stands in the file. It was most likely pasted in, or the file is "
    "binary.",
    "lab-more": "Only the first fifty problems are listed; they may well be the cause of the others.",
    # YAML.
    "lab-yaml": "The file is not YAML from here on. The place is where the reader gave up: the mistake is there or in "
    "the line before.",
    "lab-yaml-key": "Keys are plain words. A list, a mapping, or text that begins with { or [ cannot be one; put it in "
    "quotes if it is meant as text.",
    "lab-tab": "YAML is indented with spaces; a tab at the start of a line has no width that all readers agree on.",
    "lab-empty": "There is nothing in the file. A lab has at least `name:` and `nodes:`.",
    "lab-documents": "A line of --- starts a second YAML document. One file describes one lab.",
    "lab-depth": "Lists and mappings stand in each other deeper than any lab needs. Look for a bracket that is not "
    "closed.",
    "lab-duplicate-key": "A key stands twice in one mapping. YAML readers take one of them without a word; here both "
    "are refused.",
    "lab-alias-unknown": "*name repeats what &name marked further up; no such mark is there.",
    "lab-alias-loop": "A value cannot contain itself.",
    "lab-too-large": "With its aliases filled in, the file holds more values than any lab. A few lines can stand for "
    "billions; such a file is refused before it fills the memory.",
    "lab-merge-key": "`<<:` is not part of YAML 1.2. What nodes have in common stands under `defaults:`.",
    "lab-tag": "!tags tell a YAML reader to build something other than text, numbers, lists and mappings. Lab files "
    "need none.",
    # Keys and values.
    "lab-unknown-key": "The key is not one that may stand here. `nestlab settings` lists those that may.",
    "lab-missing-key": "A key without which the lab makes no sense is not there.",
    "lab-empty-value": "A key without a value could mean 'the default' or 'nothing': say which, or leave the line out.",
    "lab-wrong-type": "Another kind of value is needed here: a number, text in quotes, a list, or `key: value` lines.",
    "lab-bad-value": "The value is of the right kind, and not one that can be used.",
    "lab-too-many": "There are more entries than any lab has: the limit keeps a mistake in a generated file from "
    "taking the machine's time.",
    "lab-size": "Sizes are written with a binary unit: KiB, MiB, GiB or TiB. Units such as GB are refused, because "
    "tools disagree on what they mean.",
    "lab-name": "Names become host names, domain names and folders, so they keep to what is valid in all three.",
    "lab-mac": "A MAC address is six pairs of hex digits, put in quotes (YAML may read it as a number). The first pair "
    "is even, since odd ones address groups; 52:54:00 is usual for virtual machines.",
    "lab-address": "Static addresses are written with the length of their prefix, such as 10.0.0.1/24.",
    "lab-argument": "A boot argument is one word. Quotes and shell characters are refused, because each boot loader "
    "treats them in its own way.",
    "lab-argument-named": "What has a key of its own is set by it, so that it stands once on the command line.",
    # Nodes.
    "lab-no-nodes": "A lab without nodes has nothing to start.",
    "lab-no-system": "Every node says what is installed on it, itself or through `defaults:`. `nestlab systems` lists "
    "what there is.",
    "lab-unknown-system": "No system of that name is known. `nestlab systems` lists what there is.",
    "lab-unknown-release": "The system is known, and this release of it is not. `nestlab systems` lists the releases.",
    "lab-duplicate-name": "Two nodes or two networks have one name.",
    "lab-source": "A node starts from a ready image or is installed from a medium: one of them, and one that its "
    "system offers.",
    "lab-answers": "The answers for the host's installer cannot be made as the lab file wants them, or the installer "
    "would refuse them, or ask. Codes in brackets within the message say more: NLK020 is one of kickstarts, NLX032 one "
    "of XCP-ng.",
    "lab-install": "`install:` is told to the installer of a system. A system that starts from a ready image has none.",
    "lab-local-file": "A file that the lab file names, such as a script for the installer, is read when the lab is "
    "loaded. It has to be a text file of at most 1 MiB; its path is taken from the lab file's folder.",
    "lab-no-xen": "`xen:` says how a hypervisor is set up, on a system that has none.",
    "lab-memory-minimum": "Below this much memory the system's makers do not support it; installers stop, or the host "
    "fails later in ways that look like something else.",
    "lab-disk-minimum": "Below this size the system's installer refuses the disk, or its image does not fit. Disks are "
    "thin: a large one takes no room until it is written.",
    "lab-no-disk": "The system boots from a disk, and the node has none.",
    "lab-dom0-memory": "dom0, Xen itself and the guests share the node's memory. Xen takes 128 MiB and about a 32nd of "
    "the whole, 256 MiB at least; dom0_memory has to leave that.",
    "lab-dom0-vcpus": "dom0 cannot have more processors than the node.",
    "lab-pciback-repeated": "A PCI device is hidden from dom0 once.",
    "lab-packages": "`packages:` go into the image that nestlab builds for a node. A node that is installed from a "
    "medium names them under `install:`, as its installer does; your own image has what you put into it.",
    "lab-storage": "A storage node serves whole disks by iSCSI (Linux' LIO) and folders by NFS, on its addresses on "
    "lab networks. The disk that it starts from is not among them.",
    "lab-after-unknown": "`after:` names a node that must be ready first; there is no such node.",
    "lab-after-cycle": "Nodes that wait for each other never start.",
    # Disks.
    "lab-duplicate-disk": "Two disks of one node have one name.",
    "lab-bus-full": "A node's controllers carry so many disks and no more: IDE 3 and SATA 5 beside the CD-ROM drive, "
    "LSI 53C895A or SAS1068 28 (four controllers of seven, whatever their model), virtio 10.",
    "lab-bus-machine": "The machine has no such controller: q35 has SATA, pc has IDE.",
    "lab-iommu-machine": "QEMU emulates an IOMMU (VT-d) on q35 alone. A node with `iommu:` is one unless the file says "
    "otherwise.",
    "lab-iommu-lsilogic": "The LSI 53C895A does not work behind an IOMMU (measured): it reads its program from its own "
    "memory by DMA, which VT-d refuses. SATA works, and cards e1000 and e1000e; lsisas1068 and virtio were not tried.",
    "lab-sector": "QEMU's IDE and SATA drives always have 512-byte logical sectors.",
    "lab-4kn-boot": "Firmware and partition table must fit the sector size of the first disk. A BIOS reads 512-byte "
    "sectors only; 512e disks have 4096-byte sectors inside and boot everywhere.",
    "lab-uefi-lsilogic": "OVMF, the UEFI firmware of virtual machines, has no driver for the LSI 53C895A controller "
    "(measured: it falls to its shell). UEFI nodes boot from IDE or SATA.",
    "lab-raid-image": "Arrays are made by an installer. A node that starts from a ready image is already installed.",
    "lab-raid-disks": "The level needs more disks: 2 for RAID 0 and 1, 3 for RAID 5, 4 for RAID 6 and 10.",
    "lab-raid-unknown-disk": "The array names a disk that the node does not have.",
    "lab-raid-repeated-disk": "An array names each disk once; the same disk twice gives no safety.",
    "lab-raid-shared-disk": "A whole disk belongs to one array.",
    "lab-duplicate-array": "Two arrays of one node have one name.",
    # Networks.
    "lab-unknown-network": "A card is on a network that the lab does not have. Networks are named under `networks:`.",
    "lab-unused-network": "A network without cards does no harm; it is often a misspelt name.",
    "lab-duplicate-mac": "Two cards with one MAC address on one network lose each other's frames.",
    "lab-duplicate-address": "Two cards have one address on one network and VLAN.",
    "lab-address-subnet": "A network with `subnets:` has addresses of those only, with the same prefix length: an "
    "address next to them reaches nobody.",
    "lab-management-address": "Every node has 10.0.2.15 on its management card, in a network of its own: an address "
    "of that network on another card takes the answers to ssh away.",
    "lab-mtu": "The switch drops frames that are larger than their network carries, without a word, as switches do.",
    "lab-vlan-trunk": "An access port carries one VLAN, untagged; a trunk carries several, tagged. A card is one or "
    "the other.",
    "lab-trunk-native": "Untagged frames of a trunk belong to VLAN 1, so that it cannot be tagged as well.",
    "lab-trunk-repeated": "A trunk names each VLAN once.",
    "lab-vlan-address": "An address on a tagged interface needs that VLAN on the card's trunk.",
    "lab-cards-most": "So many cards fit beside the management card: PCI slots are given out in a fixed order, so that "
    "saved states fit later starts.",
    # Guests.
    "lab-no-guests": "Guests are declared for hosts whose toolstack reads files: xl and libvirt. Hosts without Xen run "
    "none, and for those of other hosts lab files have no words yet: XCP-ng's are made with xe.",
    "lab-guest-name": "The name of a guest is the name of its domain and of its files: once on each host.",
    "lab-guest-managers": "A domain is started and watched by xl or by libvirt. What one of them starts the other does "
    "not know, so that both would start it, and its disks would be written to twice.",
    "lab-guest-manager": "The host has no such toolstack.",
    "lab-guest-memory": "Xen gives guests what dom0 and Xen itself leave of the host's memory; nothing is swapped out.",
    "lab-guest-maxmem": "A guest starts with memory and may grow to maxmem by ballooning (xl mem-set).",
    "lab-guest-vifs": "Management tools attach seven interfaces to a guest, and guests were seen to hang with an "
    "eighth. A trunk of VLANs carries any number of networks over one interface.",
    "lab-guest-bridge": "The host has a bridge over its management card, called as xen.bridge says, and one over each "
    "card of `networks:`, counted on from there.",
    "lab-guest-boot": "PV and PVH guests have no firmware: a kernel of the host starts them, or pygrub, which reads "
    "the guest's disk in dom0, or a GRUB made for Xen (PvGrub2, grub.xen), which reads it inside the guest. HVM guests "
    "start from their disk by firmware. pygrub runs in dom0 on what the guest wrote; PvGrub2 does not.",
    "lab-guest-pygrub": "pygrub reads the file systems of Linux. NetBSD guests start from a kernel in the host, of "
    "which they keep a copy as /netbsd.",
    "lab-guest-type": "The guest's type cannot have the device: PVH guests have no PCI devices, and only HVM guests, "
    "whose devices are emulated by QEMU, can have a virtio random number device.",
    "lab-guest-pci": "A device that a guest is given is kept from dom0 (xen.pciback_hide), and given to one guest.",
    "lab-guest-disk": "A guest's disk is a raw or qcow2 file, or a volume, which is raw. What is to be made and filled "
    "needs a size and is raw.",
    "lab-guest-shared-disk": "Two guests that write to one disk destroy its file system.",
    "lab-guest-array": "The disk is on a RAID array, and none of that name is made: the guest's storage would not be "
    "there when the host comes up. Arrays of `raid:` are found as /dev/md/NAME; numbers such as md127 change.",
    "lab-guest-make": "The program that is to make the guest's disks does not run on this host, makes another kind of "
    "guest, or lacks something that it has to be told.",
    # This host.
    "lab-host-memory": "All nodes together ask for more memory than this machine has. `validate --no-limits` leaves "
    "this machine out of it.",
    "lab-host-cpus": "A guest with more processors than the host spends its time waiting for itself. Up to four times "
    "as many is a note; more is refused.",
    "lab-host-disk": "What the nodes are expected to write does not fit; or, as a note, their disks could grow beyond "
    "what is free.",
}
