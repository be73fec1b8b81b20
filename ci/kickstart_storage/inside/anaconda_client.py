"""Asks anaconda's storage service to carry out a kickstart: python3 anaconda_client.py KICKSTART (see `anaconda`).

It asks what anaconda's text mode asks (ui/lib/storage.py): read the kickstart, scan, select the disks, configure,
validate, apply, create. The validation is the one that an installation would stop at. The release that is understood
is that of the source.
"""

# mypy: disable-error-code="import-not-found, no-untyped-call"
import sys
import time
from typing import Any

import anaconda_stand_ins  # noqa: F401 - before anything of anaconda's
from dasbus.typing import unwrap_variant
from pyanaconda.core.kickstart.version import VERSION
from pyanaconda.modules.boss.kickstart_manager.parser import VALID_SECTIONS_ANACONDA, SplitKickstartParser
from pyanaconda.modules.common.constants.objects import DEVICE_TREE, DISK_SELECTION
from pyanaconda.modules.common.constants.services import STORAGE
from pyanaconda.modules.common.structures.kickstart import KickstartReport
from pyanaconda.modules.common.structures.validation import ValidationReport
from pyanaconda.modules.common.task import sync_run_task
from pykickstart.version import makeVersion


def main(path: str) -> None:
    storage = STORAGE.get_proxy()
    commands = commands_of(storage)
    elements = SplitKickstartParser(makeVersion(VERSION), valid_sections=VALID_SECTIONS_ANACONDA).split(path)
    text = elements.get_kickstart_from_elements(elements.get_elements(commands=commands))
    read = KickstartReport.from_structure(storage.ReadKickstart(text))
    print("\n".join(str(message) for message in read.get_messages()))
    assert read.is_valid(), "anaconda does not read the kickstart"
    run(storage.ScanDevicesWithTask())
    selection = STORAGE.get_proxy(DISK_SELECTION)
    found = STORAGE.get_proxy(DEVICE_TREE).GetDisks()
    selection.SelectedDisks = [name for name in found if name not in selection.IgnoredDisks]
    (place,) = storage.CreatedPartitioning
    partitioning = STORAGE.get_proxy(place)
    run(partitioning.ConfigureWithTask())
    report = ValidationReport.from_structure(unwrap_variant(run(partitioning.ValidateWithTask()).GetResult()))
    print("\n".join((*report.error_messages, *report.warning_messages)))
    assert report.is_valid(), "anaconda's own check does not pass"
    storage.ApplyPartitioning(place)
    # The first task makes the layout; the second would mount it.
    run(storage.InstallWithTasks()[0])


def run(place: str) -> Any:
    task = STORAGE.get_proxy(place)
    sync_run_task(task)
    return task


def commands_of(storage: Any) -> list[str]:
    """The kickstart commands that are the service's own. Importing takes it some seconds under emulation."""
    for _ in range(240):
        try:
            return list(storage.KickstartCommands)
        except Exception:
            time.sleep(0.5)
    raise TimeoutError("anaconda's storage service does not answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
