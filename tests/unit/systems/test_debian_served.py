"""A storage node: what its image gets, and what it offers to whom."""

from __future__ import annotations

import json
from typing import Any

from builder.model.lab import Storage
from builder.model.plan import SystemPlan
from builder.systems.debian.system import Debian
from tests.support.nodes import debian_node, disk, nic

DISKS = (disk(), disk("lun0"), disk("lun1", bus="virtio"))
NICS = (
    nic(1, addresses=("10.0.0.1/24",)),
    nic(2, network="b", trunk=(5,), addresses=("fd00::1/64",), vlan_addresses={5: ("10.5.0.1/24",)}),
)


def plan(**changes: Any) -> SystemPlan:
    return Debian().plan(debian_node(**{"name": "san", "disks": DISKS, "nics": NICS, **changes}))


def seeded(made: SystemPlan, path: str) -> str:
    return next(file.content for file in made.seed if file.path == path)


def test_each_disk_is_a_lun_at_each_address() -> None:
    made = plan(storage=Storage(iscsi=("lun1", "lun0")))
    saved = json.loads(seeded(made, "/etc/rtslib-fb-target/saveconfig.json"))
    assert [(disk["name"], disk["dev"]) for disk in saved["storage_objects"]] == [
        ("lun1", "/dev/disk/by-id/virtio-lun1"),
        ("lun0", "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_lun0"),
    ]
    assert len({disk["wwn"] for disk in saved["storage_objects"]}) == 2, "two paths to one disk are told by it"
    (target,) = saved["targets"]
    assert target["wwn"] == "iqn.2024-07.internal.nestlab:san"
    (group,) = target["tpgs"]
    assert [(lun["index"], lun["storage_object"]) for lun in group["luns"]] == [
        (0, "/backstores/block/lun1"),
        (1, "/backstores/block/lun0"),
    ]
    assert [portal["ip_address"] for portal in group["portals"]] == ["10.0.0.1", "[fd00::1]", "10.5.0.1"]
    waits = seeded(made, "/etc/systemd/system/rtslib-fb-targetctl.service.d/nestlab.conf")
    assert "udevadm wait --timeout=120 /dev/disk/by-id/virtio-lun1 /dev/disk/by-id/scsi-0QEMU" in waits
    assert made.recipe is not None and "targetcli-fb" in made.recipe.packages
    assert "nfs-kernel-server" not in made.recipe.packages
    assert ("systemctl", "enable", "rtslib-fb-targetctl.service") in made.recipe.configure


def test_folders_are_served_and_are_there() -> None:
    made = plan(storage=Storage(nfs=("/srv/nfs", "/srv/iso")))
    lines = seeded(made, "/etc/exports").splitlines()
    assert [line.split(" ")[0] for line in lines] == ["/srv/nfs", "/srv/iso"]
    assert "fsid=1" in lines[0] and "fsid=2" in lines[1], "two folders of one file system need their own"
    assert {"/srv/nfs/.nestlab", "/srv/iso/.nestlab"} <= {file.path for file in made.seed}
    assert made.recipe is not None and "nfs-kernel-server" in made.recipe.packages
    assert not [words for words in made.recipe.configure if "unmask" in words]


def test_packages_of_a_node_are_in_its_image_once() -> None:
    made, usual = plan(packages=("open-iscsi", "mdadm")).recipe, plan().recipe
    assert made is not None and usual is not None
    assert made.packages == (*usual.packages, "open-iscsi")
    assert "mdadm" in usual.packages
