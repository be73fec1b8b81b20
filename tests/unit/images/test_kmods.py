"""Which module files a driver needs, in which order, and by which sign /init knows that it is needed."""

from __future__ import annotations

import io
import lzma
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.images.cpio import Archive
from builder.images.kmods import Modules, pack


def module(folder: Path, name: str, *info: str, packed: bool = False) -> None:
    data = b"\x7fELF\0" + b"\0".join(line.encode() for line in info) + b"\0"
    path = folder / "kernel" / f"{name}.ko{'.xz' if packed else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(data) if packed else data)


@pytest.fixture
def modules(tmp_path: Path) -> Modules:
    folder = tmp_path / "6.1.0-test"
    module(folder, "scsi_common", "depends=")
    module(folder, "scsi_mod", "depends=scsi_common")
    module(folder, "scsi_transport_spi", "depends=scsi_mod", packed=True)
    module(
        folder, "sym53c8xx", "alias=pci:v00001000d0000008Fsv*sd*bc*sc*i*", "depends=scsi_transport_spi,scsi_mod",
        packed=True,
    )  # fmt: skip
    module(folder, "sd-mod", "alias=scsi:t-0x00*", "depends=scsi_mod,scsi_common")
    module(folder, "ahci", "alias=pci:v*d*sv*sd*bc01sc06i01*", "depends=")
    module(folder, "ext4", "softdep=pre: crc32c absent", "depends=jbd2")
    module(folder, "crc32c", "depends=")
    module(folder, "xen_evtchn", "alias=xen:evtchn", "depends=")
    (folder / "modules.builtin").write_text("kernel/fs/jbd2.ko\nkernel/drivers/virtio/virtio-pci.ko\n")
    return Modules(folder)


def names(modules: Modules, name: str) -> list[str]:
    return [path.name for path in modules.drivers([name])[0].files]


def test_what_a_module_needs_comes_before_it(modules: Modules) -> None:
    wanted = ["scsi_common.ko", "scsi_mod.ko", "scsi_transport_spi.ko.xz", "sym53c8xx.ko.xz"]
    assert names(modules, "sym53c8xx") == wanted
    assert names(modules, "sd_mod") == ["scsi_common.ko", "scsi_mod.ko", "sd-mod.ko"]


def test_a_soft_need_is_met_when_it_can_be_and_builtin_ones_are_met_already(modules: Modules) -> None:
    assert names(modules, "ext4") == ["crc32c.ko", "ext4.ko"]
    assert modules.drivers(["virtio_pci"]) == ()


def test_a_module_that_is_not_there_is_an_error_unless_optional(modules: Modules) -> None:
    with pytest.raises(LabError, match="no module 'megaraid_sas'"):
        modules.drivers(["megaraid_sas"])
    assert modules.drivers(["megaraid_sas"], optional=["megaraid_sas"]) == ()


def test_the_table_for_init(modules: Modules) -> None:
    out = io.BytesIO()
    archive = Archive(out)
    pack(archive, modules.drivers(["sym53c8xx", "sd_mod", "ahci", "xen_evtchn"]))
    table = out.getvalue().partition(b"lib/nestlab/drivers\0")[2].strip(b"\0").decode().splitlines()
    assert table == [
        "pci:v00001000d0000008F scsi_common.ko scsi_mod.ko scsi_transport_spi.ko sym53c8xx.ko",
        "- scsi_common.ko scsi_mod.ko sd-mod.ko",
        "bc01sc06i01 ahci.ko",
        "hypervisor:xen xen_evtchn.ko",
    ]
    # unpacked, and each once
    assert out.getvalue().count(b"lib/nestlab/scsi_mod.ko\0") == 1
    assert b"alias=pci:v00001000d0000008F" in out.getvalue()
