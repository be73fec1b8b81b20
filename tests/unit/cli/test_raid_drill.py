"""What `nestlab drill raid` prints, and what it reads of the console."""

from __future__ import annotations

from pathlib import Path

from builder.cli.raid_drill import drill_text, new_lines
from builder.procedures.drill import Step
from builder.procedures.raid_drill import STEPS, DiskDrill, RaidDrill


def drill(*errors: str) -> RaidDrill:
    """One disk after the other; the last ends at its second step when there is an error."""
    fine = tuple(Step(name=name, ok=True, seconds=65.0) for name in STEPS)
    broken = (fine[0], *(Step(name=STEPS[1], ok=False, seconds=900.0, error=error) for error in errors))
    disks = (
        DiskDrill(disk="disk0", started_from="disk1", steps=fine),
        DiskDrill(disk="disk1", started_from="disk0", steps=broken if errors else fine),
    )
    return RaidDrill(
        node="host", release="debian 13", arrays={"md0": "raid1"}, members=("disk0", "disk1"), disks=disks,
        check=None if errors else Step(name="check", ok=True, seconds=30.0), seconds=600.0,
    )  # fmt: skip


def test_each_disk_is_a_row() -> None:
    lines = drill_text(drill()).splitlines()
    assert lines[0] == "host: md0 (raid1)"
    assert " ".join(lines[1].split()) == "DISK STARTED FROM PULL START WITHOUT IT PLUG IN BUILD UP"
    assert lines[2].split() == ["disk0", "disk1", *["1", "m", "5", "s"] * 4]
    assert lines[-1] == "every disk was lost and built up, and all copies are the same, in 10 m 0 s"


def test_what_failed_is_told_with_its_reason() -> None:
    text = drill_text(drill("it did not start"))
    rows = [line.split() for line in text.splitlines()]
    assert [
        "disk1",
        "disk0",
        "1",
        "m",
        "5",
        "s",
        "FAILED",
        "-",
        "-",
    ] in rows and "start without it: it did not start" in text
    assert text.endswith("FAILED, in 10 m 0 s")


def test_only_what_is_new_on_the_console_is_read(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"before\n")
    new = new_lines(log)
    assert new() == ""
    with log.open("ab") as file:
        file.write("Boot failed: ü\n".encode())
    assert (new(), new()) == ("Boot failed: ü\n", "")
