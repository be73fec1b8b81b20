"""What `nestlab media prove` prints and exits with, from reports of every kind."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from builder.cli.media_prove import interruptible, status_of, text
from builder.errors import Interrupted
from builder.lifecycle.media_proof_model import BootResult, Digested, Files, Judge, Report, Seen

IMAGE = Digested(name="host.iso", size=5 << 20, sha256="ab" * 32)
FILES = Files(same=7, changed=(), added=(), moved=(), missing=(), boot=(), identity=True)


def component(name: str, how: str, size: int, sha256: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """As CycloneDX has it."""
    said = {"how": how, "size": str(size)}.items()
    found: dict[str, Any] = {"name": name, "hashes": [{"alg": "SHA-256", "content": sha256}]}
    found["properties"] = [{"name": f"nestlab:{what}", "value": value} for what, value in said]
    return found | ({"components": list(parts)} if parts else {})


BILL = {
    "components": [
        component("/install.img", "changed", 9, "c" * 64, component("/answerfile.xml", "in the initrd", 4, "d" * 64))
    ]
}


def boot(outcome: str = "ok", **more: Any) -> BootResult:
    given = {"firmware": "uefi", "attached": "usb", "outcome": outcome, "accelerator": "tcg", "seconds": 12.4}
    return BootResult.model_validate(given | more)


def report(*boots: BootResult, proven: bool = False, **more: Any) -> Report:
    given = {
        "nestlab": "1", "date": "2026-01-02T03:04:05+00:00", "outcome": "proven" if proven else "failed",
        "medium": IMAGE, "source": None, "volume_id": "XCP-ng 8.3", "installer": "xcpng 8.3.0", "boots": boots,
    }  # fmt: skip
    return Report.model_validate(given | more)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (report(boot(), proven=True), 0),
        (report(boot(), boot("timeout")), 4),
        (report(boot("failed"), boot("timeout")), 1),
        (report(boot("timeout"), files=FILES.model_copy(update={"moved": ("/a",)})), 1),
        (report(boot("timeout"), files=FILES, judges=(Judge(tool="x", different=("a -> b",)),)), 1),
        (report(boot(), files=FILES.model_copy(update={"identity": False})), 1),
    ],
)
def test_exit_statuses(found: Report, status: int) -> None:
    assert status_of(found) == status


def test_edits_are_sound_and_anything_beyond_is_not() -> None:
    assert report(files=FILES.model_copy(update={"changed": ("/a",), "added": ("/b",)})).is_sound
    for what in ("moved", "missing", "boot"):
        assert not report(files=FILES.model_copy(update={what: ("/a",)})).is_sound


def test_a_proof_as_text() -> None:
    told = text(report(
        boot(command_line="quiet ks=x", command_line_seen="memory",
             arguments=(Seen(what="ks=x", where="memory", seconds=3),), answers=(Seen(what="/ks.cfg"),)),
        proven=True, source=IMAGE, files=FILES, bill=BILL,
        judges=(Judge(tool="xorriso", fields=30, grown=4), Judge(tool="sgdisk", missing="gdisk")),
    ))  # fmt: skip
    assert "host.iso, 5.0 MiB, sha256 " + "ab" * 32 in told
    assert "7 files of all trees are where they were, with the same content" in told
    assert "not installed: apt-get install gdisk" in told
    lines = [line.split() for line in told.splitlines()]
    assert ["xorriso", "30", "4", "none"] in lines
    assert ["/answerfile.xml", "in", "the", "initrd", "4", "d" * 64] in lines
    assert "uefi usb  ok       tcg  12 s  in its memory          1 of 2" in told
    assert "ks=x: uefi usb (memory)" in told and "/ks.cfg: not seen" in told
    assert told.splitlines()[-1] == "proven, 2026-01-02T03:04:05+00:00, nestlab 1"


def test_a_second_start_is_told() -> None:
    assert "uefi usb  ok, started twice  tcg" in text(report(boot(starts=2), proven=True))


def test_a_failure_as_text_says_what_and_where_to_look() -> None:
    told = text(report(boot("failed", message="uefi-usb: it broke", console="/k/uefi-usb.log", screenshot="/k/s.png"),
                       files=FILES.model_copy(update={"moved": ("joliet:/b",)}),
                       judges=(Judge(tool="sfdisk", fields=9, different=("a -> b",)),)))  # fmt: skip
    assert "uefi-usb: it broke\n  console: /k/uefi-usb.log\n  screen: /k/s.png" in told
    assert "moved though nobody changed them: joliet:/b" in told
    assert "sfdisk finds a difference:\n  a -> b" in told
    assert "no --source was named" in text(report(boot()))


def test_work_is_told_to_stop_and_waited_for() -> None:
    """Ctrl-C comes while the work is under way: it ends first, then the interrupt goes on."""
    ended = []

    def work(stop: threading.Event) -> None:
        signal.raise_signal(signal.SIGINT)  # Python hands it to the main thread, which waits for this one
        ended.append(stop.wait(20))

    with pytest.raises(KeyboardInterrupt):
        interruptible(work)
    assert ended == [True]


def test_results_and_errors_come_through() -> None:
    assert interruptible(lambda stop: stop.is_set()) is False

    def fails(_stop: threading.Event) -> None:
        raise Interrupted("enough")

    with pytest.raises(Interrupted, match="enough"):
        interruptible(fails)
