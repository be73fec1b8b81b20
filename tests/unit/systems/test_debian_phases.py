"""The phases of a Debian dom0's boot, held against what real consoles said, by the follower that lifecycle uses."""

from __future__ import annotations

import queue
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.boot import BootFollower
from builder.errors import NodeFailed
from builder.model.plan import Phase
from builder.systems.debian.phases import boot

TRANSCRIPTS = Path(__file__).parent / "transcripts"
PHASES = boot().phases
NAMES = [phase.name for phase in PHASES]


def follow(console: Path, phases: Sequence[Phase]) -> list[str]:
    """Names of the phases that ended. Raises NodeFailed as `up` would."""

    def quiet(*_: Any, **__: Any) -> None:
        """Nobody listens here."""

    follower = BootFollower(console, phases, node="x", emit=quiet, signals=queue.Queue(), scale=0.01)
    return list(follower.follow())


def test_the_phases_are_those_that_users_are_told_of() -> None:
    assert NAMES == ["firmware", "boot loader", "hypervisor", "dom0 kernel", "services", "ssh"]
    assert [phase.signal for phase in PHASES] == ["console"] * 5 + ["ssh"]


def test_every_pattern_compiles_and_every_cause_says_what_to_do() -> None:
    for phase in PHASES:
        re.compile(phase.awaits)
        for cause in phase.causes:
            re.compile(cause.pattern)
            assert cause.message
            assert cause.cure


@pytest.mark.parametrize(
    ("transcript", "cause", "phase"),
    [
        ("bios-blank-disk", "nothing-to-boot", "boot loader"),
        ("ovmf-disk-on-lsi", "nothing-to-boot", "boot loader"),
        ("grub-rescue", "loader-rescue", "boot loader"),
        ("grub-prompt", "loader-prompt", "boot loader"),
        ("grub-file-missing", "loader-failed", "boot loader"),
        ("xen-initrd-no-crc32c", "no-root", "dom0 kernel"),
    ],
)
def test_a_boot_that_failed_is_told_by_its_cause(transcript: str, cause: str, phase: str) -> None:
    with pytest.raises(NodeFailed) as caught:
        follow(TRANSCRIPTS / f"{transcript}.log", PHASES)
    assert (caught.value.cause, caught.value.phase) == (cause, phase)


GOOD = ["xen-bookworm-bios", "xen-trixie-bios", "xen-trixie-uefi"]


def test_the_console_alone_tells_of_every_phase_up_to_ssh() -> None:
    assert follow(TRANSCRIPTS / "xen-bookworm-bios.log", PHASES[:5]) == NAMES[:5]


@pytest.mark.parametrize("transcript", GOOD)
def test_a_boot_that_went_well_is_followed_into_its_services(transcript: str) -> None:
    assert follow(TRANSCRIPTS / f"{transcript}.log", PHASES[:4]) == NAMES[:4]


@pytest.mark.parametrize("transcript", GOOD)
def test_nothing_that_a_good_boot_says_is_taken_for_a_failure(transcript: str) -> None:
    text = (TRANSCRIPTS / f"{transcript}.log").read_bytes().decode(errors="replace")
    patterns = {cause.pattern for phase in PHASES for cause in phase.causes}
    assert [(p, line) for p in patterns for line in text.splitlines() if re.search(p, line)] == []


@pytest.mark.parametrize("transcript", GOOD)
def test_every_phase_ends_where_the_next_one_begins(transcript: str) -> None:
    """The first line that each phase awaits comes after that of the phase before, in the order of the phases."""
    lines = (TRANSCRIPTS / f"{transcript}.log").read_bytes().decode(errors="replace").splitlines()
    first = [next((n for n, line in enumerate(lines) if re.search(p.awaits, line)), None) for p in PHASES[:4]]
    told = [n for n in first if n is not None]
    assert told == sorted(told)
    assert len(told) >= 3, "only the BIOS may keep silent"


@pytest.mark.parametrize(
    "line",
    [
        "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.",
        "[  OK  ] Started ssh.service - OpenBSD Secure Shell server.",
    ],
)
def test_the_line_about_ssh_ends_the_services_with_and_without_colours(line: str) -> None:
    services = next(phase for phase in PHASES if phase.name == "services")
    assert re.search(services.awaits, line)
    assert not re.search(services.awaits, line.replace("Started", "Starting"))


# Lines as the programs print them; which are from where is said once for each.
LINES = [
    # Xen 4.17 and 4.20, from their binaries' strings and from a run (the SMAP fault)
    ("hypervisor", "(XEN) Panic on CPU 1:", "xen-panic"),
    ("hypervisor", "(XEN) FATAL TRAP: vec 13, #GP[0000]", "xen-panic"),
    ("hypervisor", "(XEN) d0v0 Unhandled: vec 14, #PF[0001]", "dom0-smap-fault"),
    ("hypervisor", "(XEN) Not enough RAM for domain 0 allocation", "dom0-memory-too-small"),
    ("hypervisor", "(XEN) Domain 0 allocation is too small for kernel image", "dom0-memory-too-small"),
    ("services", "(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds.", "dom0-crashed"),
    # Linux 6.1 and 6.12
    (
        "dom0 kernel",
        "[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
        "no-root",
    ),
    (
        "dom0 kernel",
        "[    3.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        "kernel-panic",
    ),
    ("services", "[   40.2] Out of memory: Killed process 312 (xenstored) total-vm:9kB", "out-of-memory"),
    # systemd 252 and 257
    ("services", 'You are in emergency mode. After logging in, type "journalctl -xb" to view', "emergency-mode"),
    ("services", "Cannot open access to console, the root account is locked.", "emergency-mode"),
    (
        "services",
        "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.",
        "sshd-failed",
    ),
]


@pytest.mark.parametrize(("phase", "line", "cause"), LINES, ids=[f"{cause}-{n}" for n, (*_, cause) in enumerate(LINES)])
def test_last_words_are_recognised(tmp_path: Path, phase: str, line: str, cause: str) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(line.encode() + b"\r\n")
    with pytest.raises(NodeFailed) as caught:
        follow(console, PHASES[NAMES.index(phase) :])
    assert caught.value.cause == cause


def test_causes_are_found_until_the_end() -> None:
    """What may happen in a phase may happen after it, too: a dom0 can run out of memory while ssh is awaited."""
    for name in ("xen-panic", "dom0-crashed", "kernel-panic", "out-of-memory"):
        late = [phase.name for phase in PHASES if name in {cause.name for cause in phase.causes}]
        assert late == NAMES[2:]
