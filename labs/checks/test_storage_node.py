"""What a storage node must be, asked of the running node: `nestlab test LAB` runs this.

What is expected comes from the lab file. The kernel is asked what it offers (LIO's configfs, the NFS server's table),
not the files that told it to.
"""

from __future__ import annotations

import testinfra.host

from builder.model.lab import Node, Storage

Host = testinfra.host.Host
CONFIG = "/sys/kernel/config/target"


def lines(host: Host, command: str, *words: str) -> list[str]:
    return str(host.check_output(command, *words)).splitlines()


def storage_of(node: Node) -> Storage:
    assert node.storage is not None
    return node.storage


def test_the_target_listens_at_every_lab_address_and_nowhere_else(host: Host, node: Node) -> None:
    wanted = {text.partition("/")[0] for nic in node.nics for text in nic.addresses}
    wanted |= {text.partition("/")[0] for nic in node.nics for texts in nic.vlan_addresses.values() for text in texts}
    found = lines(host, "ss -Htln sport = :3260")
    heard = {line.split()[3].rpartition(":")[0].strip("[]") for line in found}
    assert heard == (wanted if storage_of(node).iscsi else set())


def test_each_disk_is_a_unit_of_its_whole_size(host: Host, node: Node) -> None:
    sizes = {disk.name: disk.size for disk in node.disks}
    units = lines(host, f"ls {CONFIG}/iscsi/*/tpgt_1/lun") if storage_of(node).iscsi else []
    assert sorted(units) == sorted(f"lun_{index}" for index, _ in enumerate(storage_of(node).iscsi))
    for index, name in enumerate(storage_of(node).iscsi):
        at = lines(host, f"ls -d {CONFIG}/iscsi/*/tpgt_1/lun/lun_{index}/*/udev_path")
        device = lines(host, "cat %s", at[0])[0]
        assert int(lines(host, "blockdev --getsize64 %s", device)[0]) == sizes[name]
        assert name in device


def test_each_folder_is_served(host: Host, node: Node) -> None:
    wanted = set(storage_of(node).nfs)
    found = {line.split()[0] for line in lines(host, "exportfs -s")} if wanted else set()
    assert found == wanted
    for folder in wanted:
        assert host.run("test -d %s", folder).rc == 0
