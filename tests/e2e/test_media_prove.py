"""Media of XCP-ng's layout, remastered and proven by the commands that a user types: real Xen and a real kernel boot
from them as CD and as USB disk, by BIOS and UEFI, and read the answer file inside."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import Bench, bench
from tests.support.xcpng_media import SAID, build_xcpng, debian_contents

pytestmark = pytest.mark.e2e

WAYS = {("bios", "cd"), ("bios", "usb"), ("uefi", "cd"), ("uefi", "usb")}


@dataclass(frozen=True)
class Proven:
    """What the commands left: the report as JSON, its text, the console of each boot."""

    report: dict[str, Any]
    table: str
    nonce: str

    def boot(self, firmware: str, attached: str) -> dict[str, Any]:
        found: dict[str, Any] = next(
            boot for boot in self.report["boots"] if (boot["firmware"], boot["attached"]) == (firmware, attached)
        )
        return found


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture(scope="module")
def proven(here: Bench, tmp_path_factory: pytest.TempPathFactory) -> Proven:
    folder = tmp_path_factory.mktemp("xcpng")
    vendor, medium, out = build_xcpng(folder, debian_contents()), folder / "host1.iso", folder / "report.json"
    nonce = secrets.token_hex(8)
    (folder / "answers.xml").write_text(f"<installation>\n<hostname>{nonce}</hostname>\n</installation>\n")
    here.run(
        "media", "build", "--iso", vendor, "-o", medium, "--answer", folder / "answers.xml", "--append",
        f"nonce={nonce}", "--append-xen", "noreboot=0", check=True,
    )  # fmt: skip
    done = here.run(
        "media", "prove", medium, "--source", vendor, "--memory", "512MiB", "--out", out,
        "--expect-text", f"{SAID} answer <hostname>{nonce}</hostname>", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Proven(json.loads(out.read_text()), done.stdout, nonce)


@pytest.mark.parametrize(("firmware", "attached"), sorted(WAYS))
def test_real_xen_and_a_real_kernel_read_the_answer(proven: Proven, firmware: str, attached: str) -> None:
    """Judged by what the booted system wrote on its console, which is kept with the report."""
    boot = proven.boot(firmware, attached)
    console = Path(boot["console"]).read_text(errors="replace")
    assert f"{SAID} on xen" in console
    assert f"{SAID} answer <hostname>{proven.nonce}</hostname>" in console
    line = re.search(rf"{SAID} cmdline (.*)", console)
    assert line and f"nonce={proven.nonce}" in line[1].split()
    assert "rt_answerfile=file:///answerfile.xml" in line[1].split()
    hypervisor = re.search(r"\(XEN\) Command line: (.*)", console)
    assert hypervisor and "noreboot=0" in hypervisor[1].split()
    loader = {"bios": "ISOLINUX", "uefi": "GRUB"}[firmware]
    assert re.search(rf"\(XEN\) Bootloader: {loader}", console)


def test_the_report_says_what_was_seen_and_where(proven: Proven) -> None:
    assert proven.report["outcome"] == "proven"
    assert {(boot["firmware"], boot["attached"]) for boot in proven.report["boots"]} == WAYS
    for boot in proven.report["boots"]:
        assert boot["outcome"] == "ok" and boot["cause"] == ""
        awaited = {item["what"]: item["where"] for item in boot["arguments"]}
        assert {f"nonce={proven.nonce}", "install", "noreboot=0"} <= set(awaited)
        assert set(awaited.values()) <= {"console", "memory"}
        # The kernel unpacked it: seen in its memory, without a word on the console.
        assert [(a["what"], a["where"]) for a in boot["answers"]] == [("/answerfile.xml", "memory")]
        assert f"nonce={proven.nonce}" in boot["command_line"]
        assert Path(boot["screenshot"]).stat().st_size > 0
    assert "proven" in proven.table.splitlines()[-1]


def test_the_report_compares_with_the_source(proven: Proven) -> None:
    judges = {judge["tool"]: judge for judge in proven.report["judges"]}
    assert set(judges) == {"xorriso", "isoinfo", "sfdisk", "sgdisk", "blkid"}
    assert all(not judge["missing"] and not judge["different"] for judge in judges.values())
    assert judges["xorriso"]["fields"] > 20 and judges["xorriso"]["grown"] >= 3
    files = proven.report["files"]
    assert (files["moved"], files["missing"], files["boot"], files["identity"]) == ([], [], [], True)
    assert files["same"] > 10
    put_in = {item["name"]: item for item in proven.report["bill"]["components"]}
    assert [part["name"] for part in put_in["/install.img"]["components"]] == ["/answerfile.xml"]
    assert proven.report["medium"]["sha256"] != proven.report["source"]["sha256"]
