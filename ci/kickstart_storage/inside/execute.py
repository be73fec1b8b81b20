"""Carries out the storage section of a kickstart with blivet: python3 execute.py KICKSTART HANDLER.

Runs in the test machine, as root, on its disks. pykickstart's class for the release reads the file; each of its
commands becomes the call on blivet that anaconda makes of it (modules/storage/partitioning/custom): names, sizes,
parents and formats as they are read. Where things are put, how members are cut, aligned and grown, which metadata an
array gets and what is run for all of it is blivet's own. An option that has no place here ends it: nothing is passed
over in silence.
"""

import sys
from pathlib import Path
from typing import Any

from blivet import Blivet  # type: ignore[import-not-found]
from blivet.formats import get_format  # type: ignore[import-not-found]
from blivet.formats.disklabel import DiskLabel  # type: ignore[import-not-found]
from blivet.partitioning import do_partitioning, grow_lvm  # type: ignore[import-not-found]
from blivet.size import Size  # type: ignore[import-not-found]
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

FORMATS = {"raid.": "mdmember", "pv.": "lvmpv", "biosboot": "biosboot", "swap": "swap"}


def main(path: str, handler: str) -> None:
    parser = KickstartParser(makeVersion(handler))  # type: ignore[no-untyped-call]  # ships no types
    parser.readKickstart(path)  # type: ignore[no-untyped-call]
    data = parser.handler
    storage = Blivet()
    storage.exclusive_disks = [disk_name(spec) for spec in data.ignoredisk.onlyuse]
    storage.reset()
    clear(storage, data)
    for part in data.partition.partitions:
        add_partition(storage, part)
    do_partitioning(storage, boot_disk=resolve(storage, boot_drive(data.bootloader)))
    named: dict[str, Any] = {}
    for raid in data.raid.raidList:
        named[raid.mountpoint] = add_array(storage, raid)
    for group in data.volgroup.vgList:
        parents = [named.get(name) or by_request(storage, name) for name in group.physvols]
        size = Size(f"{group.pesize} KiB")
        storage.create_device(storage.new_vg(name=group.vgname, parents=parents, pe_size=size))
    for volume in data.logvol.lvList:
        add_volume(storage, volume)
    grow_lvm(storage)
    storage.do_it()


def clear(storage: Any, data: Any) -> None:
    """clearpart --all --initlabel, as far as `ignoredisk --only-use` lets disks be seen at all."""
    assert data.zerombr.zerombr and data.clearpart.initAll, "disks would not be initialised"
    wanted = {disk_name(spec) for spec in data.clearpart.drives}
    if getattr(data.clearpart, "disklabel", ""):
        DiskLabel.set_default_label_type(data.clearpart.disklabel)
    disks = [disk for disk in storage.disks if disk.name in wanted]
    assert {disk.name for disk in disks} == wanted, f"{wanted} of {storage.disks}"
    for disk in disks:
        storage.recursive_remove(disk)
        storage.initialize_disk(disk)


def add_partition(storage: Any, part: Any) -> None:
    mount = part.mountpoint
    kind = next((made for start, made in FORMATS.items() if mount.startswith(start)), None) or part.fstype
    named = {"name": mount} if mount.startswith(("raid.", "pv.")) else {}
    storage.create_device(
        storage.new_partition(
            fmt=format_of(kind, mount if mount.startswith("/") else "", part.fsopts),
            size=Size(f"{part.size} MiB"),
            grow=part.grow,
            parents=[resolve(storage, part.disk)],
            **named,
        )
    )


def add_array(storage: Any, raid: Any) -> Any:
    mount = raid.mountpoint
    kind = "lvmpv" if mount.startswith("pv.") else raid.fstype
    chunk = getattr(raid, "chunk_size", None)
    array = storage.new_mdarray(
        name=raid.device,
        level=raid.level,
        parents=[by_request(storage, member) for member in raid.members],
        member_devices=len(raid.members) - raid.spares,
        total_devices=len(raid.members),
        fmt=format_of(kind, mount if mount.startswith("/") else "", raid.fsopts),
        **({"chunk_size": Size(f"{chunk} KiB")} if chunk else {}),
    )
    storage.create_device(array)
    return array


def add_volume(storage: Any, volume: Any) -> None:
    group = storage.devicetree.get_device_by_name(volume.vgname)
    mount = volume.mountpoint
    kind = "swap" if mount == "swap" else volume.fstype
    storage.create_device(
        storage.new_lv(
            name=volume.name,
            parents=[group],
            size=Size(f"{volume.size} MiB"),
            grow=volume.grow,
            fmt=format_of(kind, mount if mount.startswith("/") else "", volume.fsopts),
        )
    )


def format_of(kind: str, mountpoint: str, options: str) -> Any:
    made = get_format(kind, mountpoint=mountpoint, mountopts=options)
    assert made.type, f"blivet knows no format {kind}"
    return made


def boot_drive(bootloader: Any) -> str:
    """--boot-drive, or the first of --driveorder in release 6."""
    return getattr(bootloader, "bootDrive", "") or bootloader.driveorder[0]


def by_request(storage: Any, name: str) -> Any:
    """The partition that was asked for under a name of the kickstart: raid.201."""
    return next(device for device in storage.devices if getattr(device, "req_name", None) == name)


def disk_name(spec: str) -> str:
    """sda, from sda, /dev/sda or /dev/disk/by-id/..."""
    path = spec if spec.startswith("/") else f"/dev/{spec}"
    return Path(path).resolve(strict=True).name


def resolve(storage: Any, spec: str) -> Any:
    disk = storage.devicetree.get_device_by_name(disk_name(spec))
    assert disk is not None, f"blivet does not see {spec}"
    return disk


if __name__ == "__main__":
    main(*sys.argv[1:])
