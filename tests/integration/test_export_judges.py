"""Exported definitions, judged by who reads them: Xen's and libvirt's parsers of xl configurations, libvirt's reader of
.vmx files, its schema and its test driver. Each is shown a broken file as well."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree

from builder.model.lab import Lab
from ci.nightly.xl_in_dom0 import PVH, plain_hvm
from tests.integration.test_domain_xml import schema
from tests.support.exports import HOSTILE, cards, export, installed, lab, two_nodes
from tests.support.nodes import disk
from tests.support.repo import some
from tests.support.vmx import for_libvirt, read_vmx
from tests.support.xenxl import parse_xl
from tests.support.xl import read_xl

pytestmark = pytest.mark.integration


def many_disks(count: int) -> Lab:
    return lab(installed(disks=tuple(disk(f"d{n}", size=60 << 30) for n in range(count))))


def nests(root: etree._Element) -> bool:
    """What libvirt makes of nestedhvm=1. Of 0 it makes a processor without vmx and svm, and of nothing, none."""
    cpu = root.find("cpu[@mode='host-passthrough']")
    return cpu is not None and cpu.find("feature[@policy='disable']") is None


XL: dict[str, tuple[Lab, dict[str, Any]]] = {
    "two nodes": (two_nodes(), {}),
    "one disk": (many_disks(1), {}),
    "five disks on AHCI": (many_disks(5), {"bus": "sata"}),
    "UEFI and an access port": (lab(installed(firmware="uefi", nics=cards({"vlan": 100}))), {"nic": "rtl8139"}),
    "a hostile folder": (two_nodes(), {"folder": f"/srv/{HOSTILE}"}),
}


@pytest.mark.parametrize("name", XL)
def test_xl_configurations_are_read_as_they_are_meant(name: str, tmp_path: Path) -> None:
    made, site = XL[name]
    files = export("xl", made, **site)
    for path in some(path for path in files if path.endswith(".cfg")):
        file = tmp_path / "x.cfg"
        file.write_text(files[path].content)
        wrong, values = read_xl(file, "name", "type", "bios", "on_reboot", "serial")
        node = made.node(path.partition("/")[0])
        assert wrong == "" and values["name"] == f"demo-{node.name}" and values["type"] == "hvm"
        assert values["bios"] == ("ovmf" if node.firmware == "uefi" else "seabios") and values["serial"] == "pty"
        assert values["on_reboot"] == ("destroy" if path.endswith("install.cfg") else "restart")
        wrong, text = parse_xl(file)
        assert wrong == ""
        root = etree.fromstring(text)
        assert nests(root)
        assert root.findtext("vcpu") == "2" and root.findtext("memory") == str(node.memory // 1024)
        folder = site.get("folder", "/var/lib/nestlab/demo")
        sources = [source.get("file") for source in root.iterfind("devices/disk/source")]
        wanted = [f"{folder}/demo-{node.name}-{each.name}.img" for each in node.disks]
        media = [f"{folder}/demo-{node.name}.iso"] if path.endswith("install.cfg") else []
        assert sources == wanted + media
        macs = [mac.get("address") for mac in root.iterfind("devices/interface/mac")]
        assert macs == [node.management_mac, *(nic.mac for nic in node.nics)]
        models = {model.get("type") for model in root.iterfind("devices/interface/model")}
        assert models == {site.get("nic", "e1000")}


def test_what_is_started_in_a_dom0_by_night_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "host.cfg"
    file.write_text(export("xl", two_nodes())["host/host.cfg"].content)
    file.write_text(plain_hvm(file))
    for text, kind in ((file.read_text(), "hvm"), (PVH, "xenpvh")):
        file.write_text(text)
        wrong, values = read_xl(file, "kernel", "ramdisk", "tsc_mode")
        assert wrong == "" and values["kernel"] == "/vmlinuz" and values["tsc_mode"] == "native"
        wrong, read = parse_xl(file)
        assert wrong == ""
        root = etree.fromstring(read)
        assert root.findtext("os/type") == kind and root.findtext("os/kernel") == "/vmlinuz"
        assert not nests(root)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("vcpus = 2", "vcpus = two"), ('type = "hvm"', 'type = "hvm'), ("vif = [", "vif = "), ("memory =", "memory = =")],
)
def test_xens_parser_is_not_blind(right: str, wrong: str, tmp_path: Path) -> None:
    text = export("xl", two_nodes())["host/host.cfg"].content
    assert right in text
    file = tmp_path / "x.cfg"
    file.write_text(text.replace(right, wrong))
    assert read_xl(file)[0] or parse_xl(file)[0]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("format=raw", "format=rwa"), ("memory = 8192", 'memory = "much"'), ("access=rw", "access=rx")],
)
def test_libvirts_parser_of_xl_is_not_blind(right: str, wrong: str, tmp_path: Path) -> None:
    """Values, which Xen's own syntax check takes as they come."""
    text = export("xl", two_nodes())["host/host.cfg"].content
    assert right in text
    file = tmp_path / "x.cfg"
    file.write_text(text.replace(right, wrong))
    assert read_xl(file)[0] == "" and parse_xl(file)[0] != ""


VMX: dict[str, tuple[Lab, dict[str, Any]]] = {
    "two nodes": (two_nodes(), {}),
    "vmxnet3": (two_nodes(), {"nic": "vmxnet3"}),
    "nine disks": (many_disks(9), {}),
    "access ports": (lab(installed(cpus=4, nics=cards({"vlan": 100}, {"trunk": (100,)}))), {}),
    "UEFI": (lab(installed(firmware="uefi")), {}),
    "workstation": (two_nodes(), {"release": "workstation", "folder": "/home/me/it's a folder"}),
    "workstation on vmnet8": (two_nodes(), {"release": "workstation", "folder": "/vm", "uplink": "vmnet8"}),
}
# Keys that libvirt's reader does not look at: the document that has each, and where in it. No reference of all keys was
# found; Broadcom's own plugin for Packer writes most of these into the machines that it makes.
_GUIDE = "https://github.com/xcp-ng/xcp-ng-org/blob/2c82da6/docs/guides/xcpng-in-a-vm.md"
_WORKSTATION = (_GUIDE, "Nested XCP-ng using VMware, Configuration under VMware Workstation Pro 14/15")
_CREATE_VMX = (
    "https://github.com/vmware/packer-plugin-vmware/blob/2eefbb5df89a6345c48d2f398e2a10181181f1bd/"
    "builder/vmware/iso/step_create_vmx.go"
)
_TEMPLATE = "const DefaultVMXTemplate"
UNREAD: dict[str, tuple[str, str]] = {
    r"\.encoding": (_CREATE_VMX, _TEMPLATE),
    r"config\.version|virtualHW\.version": (_CREATE_VMX, f"{_TEMPLATE}, Hardware"),
    r"guestOS": (_CREATE_VMX, f"{_TEMPLATE}, Tools"),
    r"vhv\.enable": (_CREATE_VMX, f"{_TEMPLATE}, Virtual Hardware-Assisted Virtualization"),
    # The article tells of the setting and of other keys that begin so; no vendor's document that names this one was
    # found. It is written as FALSE, which is what its absence means, too.
    r"vpmc\.enable": (
        "https://knowledge.broadcom.com/external/article/344161/using-virtual-cpu-performance-monitoring.html",
        "Enabling Virtual CPU Performance Monitoring Counters",
    ),
    r"hypervisor\.cpuid\.v0": _WORKSTATION,
    r"ethernet\d+\.noPromisc": _WORKSTATION,
    r"bios\.bootOrder": (_CREATE_VMX, f"{_TEMPLATE}, Bootup"),
    r"pciBridge\d\.(present|virtualDev|functions)": (_CREATE_VMX, f"{_TEMPLATE}, Bus"),
    r"cpuid\.coresPerSocket": (_CREATE_VMX, "func (s *stepCreateVMX) Run, where config.CoreCount is looked at"),
    r"serial\d\.yieldOnMsrRead": (_CREATE_VMX, f"{_TEMPLATE}, Serial"),
    r"answer\.msg\.serial\.file\.open": (
        "https://github.com/vmware/vic/pull/1769", "change answer.msg.serial.file.open to Append"
    ),
    r"nvme\d(:\d+)?\.(present|fileName)": (_CREATE_VMX, f"{_TEMPLATE}, Hard disks"),
}  # fmt: skip
READ = (
    r"displayName|annotation|memsize|numvcpus|firmware|(scsi|sata)\d(:\d+)?\.(present|virtualDev|deviceType|fileName|"
    r"startConnected)|ethernet\d+\.(present|virtualDev|connectionType|networkName|vnet|addressType|address|"
    r"checkMACAddress)|serial\d\.(present|fileType|fileName)"
)


def machine(made: Lab, **site: Any) -> str:
    return export("vmx", made, **site)["host/demo-host.vmx"].content


@pytest.mark.parametrize("name", VMX)
def test_vmx_files_are_read_as_they_are_meant(name: str) -> None:
    made, site = VMX[name]
    wrong, text = read_vmx(for_libvirt(machine(made, **site)))
    assert wrong == ""
    root, node = etree.fromstring(text), made.node("host")
    assert root.findtext("name") == "demo-host" and root.findtext("memory") == str(8 << 20)
    assert root.findtext("vcpu") == str(node.cpus)
    assert root.find("devices/controller[@model='lsisas1068']") is not None
    disks = [source.get("file") for source in root.iterfind("devices/disk[@device='disk']/source")]
    # libvirt 9.0 reads the first seven units of a controller; of the others the keys are checked below.
    assert disks == [f"demo-host-{each.name}.vmdk" for each in node.disks[:7]]
    media = [source.get("file") for source in root.iterfind("devices/disk[@device='cdrom']/source")]
    assert media == [f"{site.get('folder', '/vmfs/volumes/datastore1/demo')}/demo-host.iso"]
    macs = [mac.get("address") for mac in root.iterfind("devices/interface/mac")]
    assert macs == [node.management_mac, *(nic.mac for nic in node.nics)]
    assert {model.get("type") for model in root.iterfind("devices/interface/model")} == {site.get("nic", "e1000")}
    if name == "access ports":
        networks = [source.get("bridge") for source in root.iterfind("devices/interface/source")]
        assert networks == ["nestlab-demo", "nestlab-demo-lan-100", "nestlab-demo-lan"]
    assert (root.find("os[@firmware='efi']") is not None) == (node.firmware == "uefi")


@pytest.mark.parametrize("name", [*VMX, "nvme"])
def test_every_key_of_a_vmx_file_is_read_by_libvirt_or_known_from_elsewhere(name: str) -> None:
    made, site = VMX.get(name, (two_nodes(), {"bus": "nvme"}))
    known = re.compile("|".join([READ, *UNREAD]))
    keys = re.findall(r"^([\w.:]+) = ", machine(made, **site), re.MULTILINE)
    assert len(keys) > 30 and [key for key in keys if not known.fullmatch(key)] == []
    assert len(keys) == len(set(keys)), "a key stands once"


def test_each_key_that_libvirt_does_not_read_is_written_and_has_its_source() -> None:
    texts = [machine(made, **site) for made, site in [*VMX.values(), (two_nodes(), {"bus": "nvme"})]]
    written = {key for text in texts for key in re.findall(r"^([\w.:]+) = ", text, re.MULTILINE)}
    for pattern, (document, section) in UNREAD.items():
        assert any(re.fullmatch(pattern, key) for key in written), f"{pattern}: nothing writes it any more"
        assert not any(re.fullmatch(READ, key) for key in written if re.fullmatch(pattern, key))
        assert document.startswith("https://") and section


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('scsi0.virtualDev = "lsisas1068"', 'scsi0.virtualDev = "lsisas1086"'),
        ('ethernet0.virtualDev = "e1000"', 'ethernet0.virtualDev = "e1001"'),
        ('memsize = "8192"', 'memsize = "8 GiB"'),
        ('numvcpus = "2"', "numvcpus = 2 and more"),
        ('ethernet1.address = "52:54:00:00:01:01"', 'ethernet1.address = "52:54"'),
    ],
)
def test_libvirts_reader_of_vmx_is_not_blind(right: str, wrong: str) -> None:
    text = machine(two_nodes())
    assert right in text
    assert read_vmx(text.replace(right, wrong))[0] != ""


LIBVIRT: dict[str, tuple[Lab, dict[str, Any]]] = {
    "two nodes": (two_nodes(), {}),
    "UEFI and an access port": (
        lab(installed(firmware="uefi", disks=(disk(bus="ide", size=60 << 30),), nics=cards({"vlan": 7}))), {}
    ),
    "another bus and card": (two_nodes(), {"bus": "virtio", "nic": "virtio", "uplink": "a & b <net>"}),
    "a hostile folder": (two_nodes(), {"folder": f"/srv/{HOSTILE}<&>\""}),
}  # fmt: skip


def network_schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/network.rng"))


@pytest.mark.parametrize("name", LIBVIRT)
def test_libvirt_takes_domains_and_networks(name: str) -> None:
    made, site = LIBVIRT[name]
    files = export("libvirt", made, **site)
    connection = libvirt.open("test:///default")
    try:
        for path in some(path for path in files if path.endswith(".xml") and not path.startswith("networks/")):
            text = files[path].content
            schema().assertValid(etree.fromstring(text))
            domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            kept = etree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            node = made.node(path.partition("/")[0])
            assert len(kept.findall("devices/disk[@device='disk']")) == len(node.disks)
            assert len(kept.findall("devices/interface")) == 1 + len(node.nics)
            slots = [str(address.get("slot")) for address in kept.iterfind("devices/interface/address")]
            assert slots == sorted(slots), "the management card comes first, as it does under `up`"
            folder = site.get("folder", "/var/lib/libvirt/images/demo")
            sources = [source.get("file") for source in kept.iterfind("devices/disk/source")]
            assert all(str(source).startswith(f"{folder}/demo-{node.name}") for source in sources)
        for path in some(path for path in files if path.startswith("networks/")):
            network_schema().assertValid(etree.fromstring(files[path].content))
            network = connection.networkDefineXML(files[path].content)
            assert network.name() == "nestlab-demo-lan" and len(network.bridgeName()) <= 15
            network.undefine()
    finally:
        connection.close()


def test_the_schema_of_domains_is_not_blind() -> None:
    text = export("libvirt", two_nodes())["host/domain.xml"].content
    wrong = text.replace('cache="none"', 'cache="nome"')
    assert wrong != text and not schema().validate(etree.fromstring(wrong))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('<mtu size="9000"', '<mtu size="large"'), ('stp="off"', 'stp="no"'), ("<name>", "<label/><name>")],
)
def test_the_schema_of_networks_is_not_blind(right: str, wrong: str) -> None:
    text = export("libvirt", two_nodes())["networks/lan.xml"].content
    assert right in text and network_schema().validate(etree.fromstring(text))
    assert not network_schema().validate(etree.fromstring(text.replace(right, wrong)))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('cache="none"', 'cache="nome"'),
        ("<devices>", "<devices><nonsense/>"),
        ("<memory ", "<memorie/><memory "),
    ],
)
def test_libvirts_own_validation_is_not_blind(right: str, wrong: str) -> None:
    """What `virsh define --validate` asks for. Without it libvirt takes the last two, and says nothing of them."""
    text = export("libvirt", two_nodes())["host/domain.xml"].content
    assert right in text
    connection = libvirt.open("test:///default")
    try:
        connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()
        with pytest.raises(libvirt.libvirtError):
            connection.defineXMLFlags(text.replace(right, wrong, 1), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    finally:
        connection.close()
