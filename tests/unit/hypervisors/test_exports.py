"""What every export holds, what the documents ask of it, and that no value of the lab or the L0 becomes code."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from builder.errors import LabError, UsageError
from builder.hypervisors import EXPORTERS, load_exporter
from builder.hypervisors.l0 import bridge_name, machines, mib
from builder.hypervisors.proxmox import bridge
from builder.hypervisors.readme import readme
from builder.hypervisors.shell import call
from builder.hypervisors.vmware import vmx
from builder.model.lab import Lab, Network
from builder.model.units import GIB
from builder.render.quoting import powershell, vmx_string
from tests.support import qm_rules
from tests.support.exports import CURLY, HOSTILE, HOSTILE_QUOTED, cards, export, installed, lab, place, two_nodes
from tests.support.nodes import debian_node, disk, nic
from tests.support.powershell import literals

WORKSTATION = {"release": "workstation", "folder": "/home/me/vm"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{target: (target, {}) for target in EXPORTERS}, "workstation": ("vmx", WORKSTATION)
}  # fmt: skip


def keys(text: str) -> dict[str, str]:
    """A .vmx or xl file as key and value, quotes off."""
    found = re.findall(r"^([\w.:]+) = (.+)$", text, re.MULTILINE)
    return {key: value.strip('"') for key, value in found}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_step_has_its_script(name: str) -> None:
    target, site = VARIANTS[name]
    files = export(target, two_nodes(), **site)
    suffix = "ps1" if target == "hyperv" else "sh"
    for step in ("create", "start", "eject", "remove"):
        content = files[f"{step}.{suffix}"].content
        assert "demo-host" in content, step
        assert ("demo-ready" in content) == (step != "eject"), "what comes with its disk has no medium"
    assert "demo-ready-root" in files["prepare.sh"].content and "demo-host.iso" in files["prepare.sh"].content


@pytest.mark.parametrize("name", VARIANTS)
def test_who_is_waited_for_starts_first_and_goes_last(name: str) -> None:
    target, site = VARIANTS[name]
    files = export(target, two_nodes(), **site)
    suffix = "ps1" if target == "hyperv" else "sh"
    start, remove = files[f"start.{suffix}"].content, files[f"remove.{suffix}"].content
    assert start.index("demo-ready") < start.index("demo-host")
    assert remove.index("demo-host") < remove.index("demo-ready")


@pytest.mark.parametrize("name", VARIANTS)
def test_scripts_can_be_run_and_the_rest_cannot(name: str) -> None:
    target, site = VARIANTS[name]
    for path, file in export(target, two_nodes(), **site).items():
        runs = path.endswith(".sh") and "lib" not in path
        assert file.mode == (0o755 if runs else 0o644), path


@pytest.mark.parametrize("name", VARIANTS)
def test_same_lab_same_files(name: str) -> None:
    target, site = VARIANTS[name]
    assert export(target, two_nodes(), **site) == export(target, two_nodes(), **site)


def test_xl_has_what_is_documented() -> None:
    one = lab(installed(disks=(disk("system", size=100 * GIB),)))
    files = export("xl", one)
    installing, later = files["host/install.cfg"].content, files["host/host.cfg"].content
    wanted = {"type": "hvm", "nestedhvm": "1", "hap": "1", "stdvga": "0", "serial": "pty", "memory": "8192"}
    for text in (installing, later):
        assert {key: value for key, value in keys(text).items() if key in wanted} == wanted
        assert "type=ioemu, model=e1000" in text and "vdev=hdc, access=rw" in text
        assert keys(text)["on_poweroff"] == keys(text)["on_crash"] == "destroy"
    assert keys(installing)["on_reboot"] == "destroy" and keys(later)["on_reboot"] == "restart"
    assert "vdev=hdb, devtype=cdrom" in installing and "cdrom" not in later
    start = files["start.sh"].content
    assert start.index("install demo-host") < start.index("up demo-host")


def test_xl_with_more_disks_begins_with_the_one_that_a_bios_starts_from() -> None:
    three = lab(installed(disks=tuple(disk(f"d{n}", size=60 * GIB) for n in range(3))))
    assert re.findall(r"vdev=(\w+)", export("xl", three)["host/host.cfg"].content) == ["hda", "hdc", "hdd"]
    five = lab(installed(disks=tuple(disk(f"d{n}", size=60 * GIB) for n in range(5))))
    text = export("xl", five, bus="sata")["host/host.cfg"].content
    assert 'hdtype = "ahci"' in text and len(re.findall(r"vdev=hd", text)) == 5


@pytest.mark.parametrize(
    ("release", "said"),
    [("8.2", "exp-nested-hvm"), ("8.3", "nested-virt"), ("", "'exp-nested-hvm nested-virt'")],
)
def test_xe_turns_nesting_on_as_the_release_does(release: str, said: str) -> None:
    create = export("xe", two_nodes(), release=release)["create.sh"].content
    assert f"NESTED={said}\n" in create and "TEMPLATE='CentOS 7'" in create and "NIC=e1000" in create


def test_vmx_has_what_is_documented() -> None:
    four = lab(installed(cpus=4))
    esxi = keys(export("vmx", four)["host/demo-host.vmx"].content)
    wanted = {
        "vhv.enable": "TRUE", "vpmc.enable": "FALSE", "numvcpus": "4", "cpuid.coresPerSocket": "2", "memsize": "8192",
        "scsi0.virtualDev": "lsisas1068", "ethernet0.virtualDev": "e1000",
    }  # fmt: skip
    assert {key: esxi[key] for key in wanted} == wanted
    assert "hypervisor.cpuid.v0" not in esxi and "ethernet0.noPromisc" not in esxi
    create = export("vmx", four)["create.sh"].content
    assert "portgroup nestlab-demo vSwitch0 0" in create
    assert "--allow-promiscuous=true" in export("vmx", four)["lib.sh"].content
    station = keys(export("vmx", four, **WORKSTATION, nic="vmxnet3")["host/demo-host.vmx"].content)
    assert station["hypervisor.cpuid.v0"] == station["ethernet0.noPromisc"] == "FALSE"
    assert station["ethernet0.virtualDev"] == "vmxnet3" and station["ethernet0.connectionType"] == "nat"


def test_vmware_is_told_what_to_do_with_the_consoles_log() -> None:
    for site in ({}, WORKSTATION):
        values = keys(export("vmx", two_nodes(), **site)["host/demo-host.vmx"].content)
        assert values["serial0.fileType"] == "file" and values["answer.msg.serial.file.open"] == "Append"


def test_vmx_units_leave_the_controllers_own_out_and_nvme_has_its_hardware() -> None:
    many = lab(installed(disks=tuple(disk(f"d{n}", size=60 * GIB) for n in range(9))))
    assert "scsi0:7.present" not in keys(export("vmx", many)["host/demo-host.vmx"].content)
    nvme = keys(export("vmx", many, bus="nvme")["host/demo-host.vmx"].content)
    assert nvme["virtualHW.version"] == "13" and nvme["nvme0:7.present"] == "TRUE" and "scsi0.present" not in nvme


def test_hyperv_has_what_is_documented() -> None:
    values, rest = literals(export("hyperv", two_nodes())["create.ps1"].content)
    for said in ("Generation = 1", "DynamicMemory = $false", "Expose = $true", "-Build 14393", "-AmdBuild 20348"):
        assert said in rest
    assert "On" in values and "100,200" in values, "address spoofing, and the trunk's VLANs"
    create = export("hyperv", two_nodes(), uplink="it's out")["create.ps1"].content.splitlines()
    asked = create.index("Assert-LabSwitch -Name 'it''s out'")
    makes = [number for number, line in enumerate(create) if line.startswith("New-")]
    assert len(makes) == 4 and asked < min(makes), "nothing is made where the switch is missing"
    library = export("hyperv", two_nodes())["lib.ps1"].content
    assert "--uplink" in library.partition("function Assert-LabSwitch")[2].partition("function")[0]
    made = library.index("New-VM ")
    assert library.index("ExposeVirtualizationExtensions") > made, "set once the machine exists"
    assert "-IsLegacy $true" in library and "-ControllerType IDE" in library and "-MacAddressSpoofing" in library


def test_proxmox_has_what_is_documented() -> None:
    create = export("proxmox", two_nodes())["create.sh"].content
    for said in ("--cpu host", "--bios seabios", "--scsihw lsi", "--balloon 0", "--scsi0 local-lvm:100", "e1000="):
        assert said in create
    assert "trunks=100;200" in create and "import-from=/var/lib/vz/nestlab/demo/demo-ready-root.qcow2" in create


def test_proxmox_takes_the_lab_files_own_devices() -> None:
    mixed = installed(disks=(disk("a", bus="ide"), disk("b", bus="virtio"), disk("c", bus="ide")),
                      management_nic="virtio")  # fmt: skip
    create = export("proxmox", lab(mixed))["create.sh"].content
    assert all(f"--{place} " in create for place in ("ide0", "virtio0", "ide1")) and "--net0 virtio=" in create
    assert "--scsi0" in export("proxmox", lab(mixed), bus="lsilogic")["create.sh"].content


def behind_an_iommu() -> Lab:
    return lab(installed(iommu=True, machine="q35", disks=(disk("root", size=100 * GIB, bus="sata"),)))


def test_an_iommu_is_there_wherever_machines_can_have_one() -> None:
    """Where they cannot, `check` says so, and nothing is written of it."""
    made = behind_an_iommu()
    create = export("proxmox", made)["create.sh"].content
    (begin,) = [shlex.split(line) for line in create.splitlines() if line.startswith("begin ")]
    assert "q35,viommu=intel" in begin and qm_rules.problems(["create", "100", *begin[2:]]) == []
    assert qm_rules.problems(["create", "100", "--machine", "pc,viommu=intel"])
    for site in ({}, WORKSTATION):
        values = keys(export("vmx", made, **site)["host/demo-host.vmx"].content)
        assert (values["vvtd.enable"], values["virtualHW.version"]) == ("TRUE", "14")
    domain = ET.fromstring(export("libvirt", made)["host/domain.xml"].content)
    assert domain.find("devices/iommu[@model='intel']/driver[@intremap='on']") is not None
    assert domain.find("features/ioapic[@driver='qemu']") is not None
    for target in EXPORTERS:
        text = "".join(file.content for name, file in export(target, made).items() if "prepare" not in name)
        other = "".join(file.content for file in export(target, lab(installed())).values())
        assert ("iommu" in text or "vvtd" in text) == load_exporter(target).l0.iommu
        assert "iommu" not in other and "vvtd" not in other


def test_libvirt_has_no_mark_and_no_port_of_ours() -> None:
    text = export("libvirt", two_nodes())["host/domain.xml"].content
    assert "nestlab:mark" not in text and "hostfwd" not in text and "udp" not in text and "unused" not in text
    root = ET.fromstring(text)
    assert root.find("cpu[@mode='host-passthrough']") is not None
    sources = [source.attrib for source in root.iterfind("devices/interface/source")]
    assert sources == [{"network": "default"}, {"network": "nestlab-demo-lan"}, {"network": "nestlab-demo-lan"}]
    library = export("libvirt", two_nodes())["lib.sh"].content
    assert "parameters/nested" in library and "ept" in library


def test_libvirt_takes_a_chosen_bus_and_card() -> None:
    root = ET.fromstring(export("libvirt", two_nodes(), bus="ide", nic="rtl8139")["host/domain.xml"].content)
    assert root.find("devices/disk/target[@bus='ide']") is not None
    assert [model.get("type") for model in root.iterfind("devices/interface/model")] == ["rtl8139"] * 3


@pytest.mark.parametrize("target", ["xl", "libvirt"])
def test_access_ports_get_a_bridge_of_their_vlan(target: str) -> None:
    tagged = lab(installed(nics=cards({"vlan": 100})), installed("other", nics=cards({"trunk": (100,)})))
    files = export(target, tagged)
    base = bridge_name(tagged, "lan")
    assert f"access {base} 100 {base}v100 9000" in files["create.sh"].content
    assert f"unbridge {base}v100" in files["remove.sh"].content
    assert f"{base}v100" in files["host/host.cfg" if target == "xl" else "host/domain.xml"].content


def test_access_ports_elsewhere() -> None:
    tagged = lab(installed(nics=cards({"vlan": 100})))
    assert f"bridge={bridge(tagged, 'lan')},tag=100" in export("proxmox", tagged)["create.sh"].content
    assert (
        f"portgroup nestlab-demo-lan-100 {bridge_name(tagged, 'lan')} 100" in export("vmx", tagged)["create.sh"].content
    )
    assert "Vlan = 100" in export("hyperv", tagged)["create.ps1"].content


def test_names_of_bridges_fit_and_differ() -> None:
    labs = [lab(name=name, networks=(Network(name="n" * 32),)) for name in ("a", "b", "c" * 32)]
    made = {bridge_name(each, "n" * 32, 4094) for each in labs}
    assert len(made) == 3 and all(len(name) <= 15 for name in made)
    assert all(re.fullmatch(r"vmbr[1-3]\d{3}", bridge(each, "n" * 32)) for each in labs)


SHELLS = [target for target in EXPORTERS if target != "hyperv"]


@pytest.mark.parametrize("target", SHELLS)
def test_hostile_names_are_one_word_of_a_shell(target: str) -> None:
    """Judged by shlex, which is what quoted them read backwards; a real shell runs them in the integration tests."""
    hostile = HOSTILE if target == "xl" else HOSTILE_QUOTED
    uplink = hostile if target in ("xe", "vmx") else "br0"
    storage = hostile if target == "xe" else "store"
    files = export(target, two_nodes(), folder=f"/srv/{hostile}", uplink=uplink, storage=storage)
    lines = [
        line
        for name, file in files.items()
        if name.endswith(".sh") and "lib" not in name
        for line in file.content.splitlines()
        if not line.startswith(("#", "here=", ". "))
    ]
    words = [word for line in lines for word in shlex.split(line)]
    assert [word for word in words if hostile in word]
    assert not [word for word in words if word in ("touch", "pwned", "two")]


def test_hostile_names_are_one_literal_of_powershell() -> None:
    folder = f"C:\\{HOSTILE_QUOTED}{CURLY}"
    files = export("hyperv", two_nodes(), folder=folder, uplink=HOSTILE_QUOTED + CURLY)
    for name in ("create.ps1", "start.ps1", "eject.ps1", "remove.ps1"):
        values, rest = literals(files[name].content)
        assert "pwned" not in rest and "touch" not in rest
        if name == "create.ps1":
            assert folder in values and HOSTILE_QUOTED + CURLY in values
            assert f"{folder}\\demo-host.iso" in values


def test_scripts_of_powershell_say_their_encoding() -> None:
    files = export("hyperv", two_nodes(), folder="C:\\é")
    assert all(file.content.startswith("\ufeff") for name, file in files.items() if name.endswith(".ps1"))


def test_the_tokenizer_of_powershell_is_not_blind() -> None:
    text = export("hyperv", two_nodes(), folder="C:\\it's")["create.ps1"].content
    literals(text)
    with pytest.raises(AssertionError):
        literals(text.replace("it''s", "it's"))
    with pytest.raises(AssertionError):
        literals(text.replace("@{", "@", 1))


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a\x1bb"])
def test_control_characters_are_refused_where_scripts_are_written(value: str) -> None:
    with pytest.raises(LabError, match="control character"):
        call("rm", value)
    with pytest.raises(LabError, match="control character"):
        powershell(value)
    assert vmx_string(value) == f'"a|{ord(value[1]):02X}b"'


def test_a_vmx_value_cannot_end_itself() -> None:
    made = two_nodes()
    site = place(load_exporter("vmx"), made, folder='/vmfs/volumes/a "b" |c\nvhv.enable = "FALSE')
    text = vmx(machines(made)[1], site, made, "esxi")
    assert keys(text)["vhv.enable"] == "TRUE"
    assert "a |22b|22 |7Cc|0Avhv.enable = |22FALSE/demo-host.iso" in text


@pytest.mark.parametrize(
    ("target", "site", "words"),
    [
        ("xl", {"folder": '/srv/"x'}, "cannot be written in an xl configuration"),
        ("xl", {"folder": "/srv/a\nb"}, "cannot be written in an xl configuration"),
        ("xl", {"uplink": "xenbr0,script=/tmp/x"}, "not the name of a bridge"),
        ("xl", {"uplink": "a-name-longer-than-15"}, "not the name of a bridge"),
        ("proxmox", {"folder": "/srv/a,format=raw"}, "holds a comma"),
        ("proxmox", {"uplink": "vmbr0,firewall=1"}, "not a name of Proxmox VE"),
        ("proxmox", {"storage": "local:100"}, "not a name of Proxmox VE"),
    ],
)
def test_what_a_language_cannot_carry_is_refused(target: str, site: dict[str, Any], words: str) -> None:
    with pytest.raises(LabError, match=words) as caught:
        export(target, two_nodes(), **site)
    assert caught.value.hint


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is known about 'bhyve'") as caught:
        load_exporter("bhyve")
    assert "hyperv" in str(caught.value.hint)
    with pytest.raises(LabError, match="wait for each other"):
        machines(lab(installed("a", after=("b",)), installed("b", after=("a",))))
    with pytest.raises(LabError, match="no whole number of MiB"):
        mib(GIB + 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_readme_has_the_order_and_every_source(name: str) -> None:
    target, changes = VARIANTS[name]
    exporter, made = load_exporter(target), two_nodes()
    site = place(exporter, made, **changes)
    text = readme(exporter, made, site, export(target, made, **changes), (), {"host": True})
    steps = re.findall(r"^(?:sh|powershell.*?-File) (\w+)\.(?:sh|ps1)$", text, re.MULTILINE)
    assert steps == [step for step in ("create", "start", "finish", "eject", "remove") if step in steps]
    assert {"create", "start", "eject", "remove"} <= set(steps)
    assert site.folder in text and "nestlab media build LAB host --iso xcp-ng-8.3.iso" in text
    assert "nestlab exec demo ready -- poweroff" in text
    assert "host" in text.split("## Order")[1].split("## Settings")[0], "how its installation ends"
    assert text.count("https://github.com/xcp-ng/xcp-ng-org") > 5


@pytest.mark.parametrize("name", VARIANTS)
def test_every_disk_of_a_node_that_is_not_installed_comes_along(name: str) -> None:
    """What `up` made of the second one is not made anew, blank, on the other side."""
    target, changes = VARIANTS[name]
    exporter, made = load_exporter(target), lab(debian_node(disks=(disk("root"), disk("guests"))))
    host = made.nodes[0].name
    files = export(target, made, **changes)
    text = readme(exporter, made, place(exporter, made, **changes), files, (), {})
    for one in ("root", "guests"):
        assert f"convert demo-{host}-{one} " in files["prepare.sh"].content
        assert f'nodes/{host}/disks/{one}.qcow2" sources/demo-{host}-{one}.qcow2' in text
    assert f"`demo-{host}-root.qcow2` and `demo-{host}-guests.qcow2`, all disks of {host} as they were" in text
    create = files["create.ps1" if target == "hyperv" else "create.sh"].content
    assert "blank" not in create and "Image = $false" not in create
    assert f"demo-{host}-guests.{exporter.l0.image[2]}" in create
    installs = export(target, lab(installed(disks=(disk("root"), disk("guests")))), **changes)
    assert "convert" not in installs["prepare.sh"].content, "an installer makes its disks itself"


def test_the_readme_tells_which_networks_of_workstation_labs_share() -> None:
    networks = (Network(name="storage"), Network(name="migration"))
    made, exporter = lab(installed(), networks=networks), load_exporter("vmx")
    text = readme(exporter, made, place(exporter, made, **WORKSTATION), (), (), {})
    assert "- storage is Workstation's `vmnet2`.\n- migration is Workstation's `vmnet3`." in text
    assert "counts from `vmnet2`: nodes of two labs on one host are on the same wires" in text
    assert "vmnet" not in readme(exporter, made, place(exporter, made), (), (), {})


def test_the_readme_tells_which_release_a_setting_is_about() -> None:
    made, exporter = two_nodes(), load_exporter("hyperv")
    for release, said in {"": {"not amd (2016, 2019, 10)", "or amd (2022, 2025, 11)"}, "2019": {"not amd"}}.items():
        text = readme(exporter, made, place(exporter, made, release=release), (), (), {})
        assert set(re.findall(r"^\| `hyperv\.cpu` \| ([^|]+) \|", text, re.MULTILINE)) == said


def test_a_node_that_is_not_installed_has_no_medium() -> None:
    made = lab(debian_node(nics=(nic(1),)))
    for target in EXPORTERS:
        files = export(target, made)
        assert not [path for path, file in files.items() if ".iso" in file.content], target
