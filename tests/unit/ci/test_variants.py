"""The sweep of variants without a machine: what is tried, how failures are named, and what the record comes to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest

from builder.model.lab import DiskBus, NicModel
from ci.nightly import variants
from ci.nightly.variant_cases import DOCUMENTED, Case, cases, is_offered
from ci.nightly.variant_machine import (
    CARDS,
    DISKS,
    PROBE,
    Failed,
    Watch,
    answers,
    causes,
    judge_answers,
    last_line,
    named,
    node_plan,
    plain,
    qemu_argv,
)  # fmt: skip
from ci.nightly.variants import judge, section

RIGHT = """\
xen 4.20.0
capabilities pv hvm hap gnttab-v1
card e1000
rx 2300000
tx 2400000
disk sym53c8xx
written aa
read aa
"""


def test_all_that_was_asked_for_is_tried() -> None:
    tried = cases()
    assert tried[0] == DOCUMENTED and len({case.name for case in tried}) == len(tried) == len(set(tried))
    assert {(case.machine, case.firmware) for case in tried} == {
        (m, f) for m in ("pc", "q35") for f in ("bios", "uefi")
    }
    assert {case.bus for case in tried} == set(DISKS) >= {*get_args(DiskBus), "megasas", "nvme"}
    assert {case.nic for case in tried} == set(CARDS) >= {*get_args(NicModel), "vmxnet3"}
    assert len({case.cpu for case in tried}) >= 5


def test_a_lab_file_can_ask_for_the_documented_and_not_for_what_it_has_no_word_for() -> None:
    assert is_offered(DOCUMENTED) and is_offered(Case("q35", "uefi", "sata"))
    assert not is_offered(Case(bus="nvme")) and not is_offered(Case(nic="vmxnet3")) and not is_offered(Case(cpu="EPYC"))
    assert not is_offered(Case(firmware="uefi"))


def outcome(case: Case, *, works: bool) -> dict[str, Any]:
    figures = {"works": works, "case": asdict(case), "inputs": "then", "ok": works or not is_offered(case)}
    return {**figures, **({"ssh_seconds": 50.1, "xen": "4.20.0"} if works else {"message": "a | b", "cause": "why"})}


def test_what_users_cannot_ask_for_may_fail_and_the_rest_may_not() -> None:
    all_fine = {case.name: outcome(case, works=is_offered(case)) for case in cases()}
    verdict = judge(all_fine)
    assert verdict.ok and verdict.versions == {"xen_13": "4.20.0"} and verdict.figures["works"] < len(all_fine)
    assert not judge({**all_fine, DOCUMENTED.name: outcome(DOCUMENTED, works=False)}).ok


def test_the_table_has_result_message_and_cause_and_says_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "variants.json"
    rows = [outcome(DOCUMENTED, works=True), outcome(Case(cpu="EPYC"), works=False)]
    record.write_text(json.dumps({"date": "2026-11-21T00:00:00", "versions": {"qemu": "7.2", "xen_13": "4.20.0"},
                                  "figures": {"variants": rows}}))  # fmt: skip
    monkeypatch.setattr(variants, "inputs_digest", lambda *_: "then")
    text = section([tmp_path / "boots.json", record])
    assert "Debian 13 with Xen 4.20.0 under QEMU 7.2" in text
    assert "| pc | bios | lsilogic | e1000 | max,-smap,-xsave | works, ssh after 50.1 s |  |  |" in text
    assert "| pc | bios | lsilogic | e1000 | EPYC | fails | `a \\| b` | why |" in text and "stale" not in text
    monkeypatch.setattr(variants, "inputs_digest", lambda *_: "now")
    assert section([record]).count(", stale |") == 2
    assert "Not run yet" in section([tmp_path / "boots.json"])


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_command_line_has_what_its_case_is_about(case: Case) -> None:
    uefi = ("/code", Path("/vars")) if case.firmware == "uefi" else None
    argv = qemu_argv(case, "52:54:00:00:00:01", Path("/disk"), Path("/console"), 2222, uefi)
    assert argv[argv.index("-cpu") + 1] == case.cpu and argv[argv.index("-machine") + 1].startswith(case.machine)
    devices = [argv[n + 1].split(",")[0] for n, word in enumerate(argv) if word == "-device"]
    assert devices == [*(each.split(",")[0] for each in DISKS[case.bus][0]), CARDS[case.nic][0]]
    assert ("file=/vars" in " ".join(argv)) == (case.firmware == "uefi")


def test_right_answers_are_taken() -> None:
    judge_answers(DOCUMENTED, answers(RIGHT))


@pytest.mark.parametrize(
    ("right", "wrong", "cause"),
    [
        ("read aa", "read bb", "other bytes"),
        ("written aa\nread aa", "written \nread ", "other bytes"),
        ("disk sym53c8xx", "disk ahci", "disk was to be driven by sym53c8xx"),
        ("card e1000", "card e1000e", "card was to be driven by e1000"),
        ("rx 2300000", "rx 23", "did not carry"),
        ("tx 2400000\n", "", "did not carry"),
    ],
)
def test_wrong_answers_are_named(right: str, wrong: str, cause: str) -> None:
    assert right in RIGHT
    with pytest.raises(Failed) as caught:
        judge_answers(DOCUMENTED, answers(RIGHT.replace(right, wrong)))
    assert cause in caught.value.cause


@pytest.mark.parametrize(
    ("console", "name"),
    [
        ("(XEN) d0v0 Unhandled: vec 14, #PF[0001]\n(XEN) Hardware Dom0 crashed: rebooting\n", "dom0-smap-fault"),
        ("(XEN) Panic on CPU 1:\n(XEN) GENERAL PROTECTION FAULT\n", "xen-panic"),
        ("\x1b[2J\x1b[01;01HBdsDxe: No bootable option or device was found.\r\n", "nothing-to-boot"),
        ("Booting from Hard Disk...\nBoot failed: could not read the boot disk\n\nNo bootable device.\n",
         "nothing-to-boot"),
        ("[    9.1] nestlab: no disk with the label nestlab-root was found in 30 s\n", "no-root"),
    ],
)  # fmt: skip
def test_consoles_name_their_causes(console: str, name: str) -> None:
    found = named(plain(console), causes(node_plan()))
    assert found is not None and found[0].name == name and found[1] and "\x1b" not in found[1]
    assert ("GENERAL PROTECTION FAULT" in found[1]) == (name == "xen-panic"), (
        "what says little says the next lines, too"
    )


def test_a_console_that_goes_well_names_none() -> None:
    console = "SeaBIOS\nBooting from Hard Disk...\nWelcome to GRUB!\n(XEN) Xen version 4.20\nWelcome to Debian\n"
    assert named(console, causes(node_plan())) is None
    assert last_line("a\n\n  b  \n\n") == "b" and last_line("") == ""


def watch(folder: Path, command: list[str]) -> Watch:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    return Watch(process, folder, causes(node_plan()))


def test_waiting_ends_when_the_console_says_that_nothing_more_comes(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"Booting from Hard Disk...\r\nNo bootable device.\r\n")
    looking = watch(tmp_path, ["sleep", "60"])
    try:
        assert looking.stop.wait(15)
        failed = looking.failure(9)
        assert failed.message == "No bootable device." and failed.name == "nothing-to-boot"
    finally:
        looking.process.kill()
        looking.process.wait()
        looking.end()


def test_waiting_ends_when_the_machine_does(tmp_path: Path) -> None:
    (tmp_path / "qemu.log").write_text("qemu-system-x86_64: Bus 'ide.0' not found\n")
    looking = watch(tmp_path, [sys.executable, "-c", "raise SystemExit(1)"])
    assert looking.stop.wait(15)
    failed = looking.failure(9)
    looking.end()
    assert failed.message.endswith("Bus 'ide.0' not found") and failed.cause == "QEMU ended with status 1"


def test_the_probe_is_sound_shell(tmp_path: Path) -> None:
    script = tmp_path / "probe.sh"
    script.write_text(PROBE)
    assert shutil.which("shellcheck")
    done = subprocess.run(["shellcheck", "-s", "sh", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_figures_fit_json() -> None:
    figures: Mapping[str, Any] = outcome(DOCUMENTED, works=True)
    assert json.loads(json.dumps(figures)) == figures
