"""Causes that are named: one table of what real programs print and what that is called; good boots are no failure.

Where an excerpt is from stands beside it: `run` is a log of a machine here (names taken out), `reported` one that
somebody published, and otherwise the line is written by the format string of the program's source.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.boot import BootFollower, Signal
from builder.drivers.ends import ENDS
from builder.drivers.hooks import Report
from builder.errors import NodeFailed, TimedOut
from builder.model.plan import Boot, Cause, SystemPlan
from builder.systems import SYSTEMS, load_system
from builder.systems.causes import GUESTS, NO_NESTED_PAGING, NO_ROOT, NO_ROOT_YET, find_cause, of_boots
from tests.support.debian import CASES as DEBIAN
from tests.support.netbsd import CASES as NETBSD
from tests.support.nodes import tiny_node
from tests.support.rhel import CASES as RHEL
from tests.support.suse import CASES as SUSE
from tests.support.xcpng import CASES as XCPNG

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def plans() -> dict[str, SystemPlan]:
    """One plan of every system and installer, by a short name."""
    return {
        "debian": DEBIAN["13-bios-lvm"].plan,
        "rhel": load_system("rhel").plan(RHEL["el9-uefi-raid10x4"].node),
        "autoyast": SUSE["15.6-full"].plan,
        "agama": SUSE["16.0-full"].plan,
        "xcpng": load_system("xcpng").plan(XCPNG["8.3-plain"].node),
        "xcpng-restore": load_system("xcpng").plan(XCPNG["8.3-restore"].node),
        "netbsd": load_system("netbsd").plan(NETBSD[next(iter(NETBSD))].node),
        "tiny": load_system("tiny").plan(tiny_node()),
    }


PLANS = plans()

# (plan, boot, what stood there, cause)
CASES = [
    # -- no answers, or answers that are refused
    ("xcpng", 0, "xcpng-8-3-answers-missing", "answers-missing"),
    ("xcpng", 0, "xcpng-8-2-answers-missing", "answers-missing"),
    ("xcpng", 0, "xcpng-8-3-answers-malformed", "answers-refused"),
    ("xcpng", 0, "xcpng-8-2-answers-malformed", "answers-refused"),
    ("xcpng-restore", 0, "xcpng-8-3-no-backup", "backup-missing"),
    ("xcpng-restore", 0, "xcpng-8-2-two-backups", "backup-missing"),
    ("rhel", 0, "dracut-initqueue[870]: Warning: anaconda: failed to fetch kickstart from http://10.0.2.2/ks.cfg\n",
     "kickstart-missing"),
    ("autoyast", 0, "Failed to download AutoYaST file.\n", "profile-missing"),
    ("agama", 0, "agama-autoinstall[812]: Could not load configuration from label://OEMDRV/autoinst.json: x\n",
     "profile-missing"),
    ("debian", 0, "!! ERROR: Failed to retrieve the preconfiguration file\n", "answers-missing"),
    # -- an interactive screen
    ("debian", 0, "Prompt: '?' for help, default=1> \n", "question-asked"),
    ("rhel", 0, "Please make a selection from the above ['b' to begin installation, 'q' to quit]: \n",
     "question-asked"),
    ("xcpng", 0, "No operation specified for answerfile - dropping back to interactive mode.\n", "question-asked"),
    # -- the repository
    ("xcpng", 0, """\
INSTALL FAILED.
A fatal exception occurred:
  File "/opt/xensource/installer/backend.py", line 1771, in verifyRepos
RuntimeError: Unable to access repository (url, http://10.0.2.2/xcp)
""", "repository-missing"),
    ("xcpng", 0, "INSTALL FAILED.\nRepoFormatError: Failed to read .treeinfo: No section: 'platform'\n",
     "treeinfo-missing"),
    ("xcpng", 0, "INSTALL FAILED.\nRuntimeError: No main repository found\n", "treeinfo-missing"),
    ("rhel", 0, "Warning: can't find installer main image path in .treeinfo\n", "stage2-missing"),
    ("agama", 0, "Failed to find the product in the repositories.\n", "repository-missing"),
    ("autoyast", 0, "No repository found.\n", "repository-missing"),
    # -- signatures
    ("debian", 0, "net-retriever-signature", "signature-refused"),  # run: a suite signed by another key
    ("xcpng", 0, "INSTALL FAILED.\nErrorInstallingPackage: Repository signature verification failure\n",
     "signature-refused"),
    ("xcpng", 0, "INSTALL FAILED.\nErrorInstallingPackage: Package not signed: kernel-4.19.19.rpm\n",
     "signature-refused"),
    ("rhel", 0, "Error: repomd.xml GPG signature verification error: Bad GPG signature\n", "signature-refused"),
    ("autoyast", 0, "Invalid signature.\n", "signature-refused"),
    # -- disks
    ("xcpng", 0, "INSTALL FAILED.\nRuntimeError: The disk /dev/sda is smaller than 46GB.\n", "disk-too-small"),
    ("xcpng", 0, "INSTALL FAILED.\nRuntimeError: The disk /dev/sdz could not be found.\n", "disk-missing"),
    ("xcpng", 0, "INSTALL FAILED.\nIOError: [Errno 2] No such file or directory: "
     "'/sys/block/md127/queue/logical_block_size'\n", "disk-missing"),
    ("rhel", 0, 'Disk "sdz" given in ignoredisk command does not exist.\n', "disk-missing"),
    ("rhel", 0, "Not enough free space on selected disks.\n", "disk-too-small"),
    ("debian", 0, "!! ERROR: Failed to partition the selected disk\n\nThis probably happened because the selected disk "
     "or free space is too small to\nbe automatically partitioned.\n", "disk-too-small"),
    ("debian", 0, "!! ERROR: Failed to partition the selected disk\n", "disks-refused"),
    ("debian", 0, "nestlab: there is no disk /dev/sdz\n", "disk-missing"),
    ("debian", 0, "Partition disks\n---------------\nPartitioning method:\n", "disk-missing"),
    ("autoyast", 0, "No disks found.\n", "disks-refused"),
    ("netbsd", 0, "nestlab: failed: look at the machine: there is no disk wd0\n", "disk-missing"),
    # -- the network
    ("debian", 0, "!! ERROR: Network autoconfiguration failed\n", "no-network"),
    ("autoyast", 0, "DHCP configuration failed.\n", "no-network"),
    ("netbsd", 0, "nestlab: failed: bring up the network: dhcpcd -1 -t 90 wm0\n", "network-missing"),
    ("debian", 0, "debian-mirror", "mirror-failed"),  # run
    ("debian", 0, "late-script-failed", "script-failed"),  # run
    ("rhel", 0, "[  95.1] NetworkManager[870]: <info>  dhcp4 (ens3): request timed out\nnestlab: the installation "
     "failed\n", "no-network"),
    ("xcpng", 0, "No DHCPOFFERS received.\nINSTALL FAILED.\nURLError: <urlopen error [Errno 101] Network is "
     "unreachable>\n", "no-network"),
    ("xcpng", 0, "INSTALL FAILED.\nURLError: <urlopen error [Errno 111] Connection refused>\n", "mirror-unreachable"),
    ("rhel", 0, "nestlab: the installation failed\nError: Failed to download metadata for repo 'base': Cannot download "
     "repomd.xml\n", "mirror-unreachable"),
    ("agama", 0, "curl: (7) Failed to connect to 10.0.2.2 port 80: Connection refused\nnestlab: the installation "
     "failed: x\n", "mirror-unreachable"),
    ("rhel", 0, "Out of memory: Killed process 1833 (anaconda) total-vm:9kB\nnestlab: the installation failed\n",
     "out-of-memory"),
    ("netbsd", 0, "UVM: pid 512 (tar), uid 0 killed: out of swap\nnestlab: failed: unpack the sets: base\n",
     "out-of-memory"),
    # -- memory, panics, the processor
    ("rhel", 0, "xfs requires 2048 MB of memory to install\n", "memory-too-small"),
    ("xcpng", 0, "(XEN) Panic on CPU 0:\n(XEN) Not enough RAM for domain 0 allocation\n", "dom0-memory-too-small"),
    ("debian", 1, "(XEN) ELF: not an ELF binary\n(XEN) \n(XEN) ****************************************\n"
     "(XEN) Panic on CPU 0:\n(XEN) Could not construct domain 0\n", "dom0-kernel-refused"),  # reported
    ("netbsd", 1, "(XEN) ELF: not an ELF binary\n(XEN) Panic on CPU 0:\n", "dom0-kernel-refused"),
    ("suse", 1, "(XEN) HVM: Hardware Assisted Paging (HAP) not detected\n(XEN) Panic on CPU 1:\n"
     "(XEN) GENERAL PROTECTION FAULT\n", "no-nested-paging"),
    ("xcpng", 0, "(XEN) Panic on CPU 0:\n(XEN) FATAL TRAP: vector = 6 (invalid opcode)\n", "xen-panic"),
    ("rhel", 0, "[    1.8] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00\n", "kernel-panic"),
]  # fmt: skip


def said(text: str) -> str:
    file = TRANSCRIPTS / f"{text}.log"
    return file.read_bytes().decode(errors="replace") if re.fullmatch(r"[a-z0-9-]+", text) else text


def boot_of(plan: str, number: int) -> Boot:
    return PLANS["autoyast" if plan == "suse" else plan].boots[number]


def follow(boot: Boot, console: Path, *signals: Signal) -> dict[str, float]:
    """As lifecycle follows a boot, with what it said there from the beginning: the phases that it went through. Raises
    NodeFailed as `up` would."""
    waiting: queue.Queue[Signal] = queue.Queue()
    for signal in signals:
        waiting.put(signal)

    def quiet(*_: Any, **__: Any) -> None:
        """Nobody listens here."""

    return BootFollower(console, boot.phases, node="x", emit=quiet, signals=waiting, scale=0.001, least=3).follow()


def start_of(boot: Boot, cause: str) -> Boot:
    """The boot from the first phase that knows the cause: where the console is when such a thing is said."""
    known = [number for number, phase in enumerate(boot.phases) if cause in {each.name for each in phase.causes}]
    assert known, f"no phase of {boot.name} knows {cause}"
    return boot.model_copy(update={"phases": boot.phases[known[0] :]})


IDS = [f"{plan}-{cause}-{number}" for number, (plan, _, _, cause) in enumerate(CASES)]


@pytest.mark.parametrize(("plan", "boot", "text", "cause"), CASES, ids=IDS)
def test_what_is_said_is_named(plan: str, boot: int, text: str, cause: str, tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(said(text))
    with pytest.raises(NodeFailed) as caught:
        follow(start_of(boot_of(plan, boot), cause), console)
    assert caught.value.cause == cause
    assert caught.value.hint
    causes = of_boots([boot_of(plan, boot)])
    found = find_cause(causes, said(text))
    assert found is not None and found.name == cause


# What the consoles of dom0s say whose root is on an array that lacks a disk, by the format strings of dracut's scripts
# (before 051 and since), of md and of systemd.
WAITED = """\
(XEN) Xen version 4.18.3 (abuild@suse.de)
[    0.000000] Linux version 6.4.0-150600.21-default (geeko@buildhost)
[    3.911022] systemd[1]: systemd 254.10+suse.84 running in system mode (+PAM +AUDIT)
[  133.402117] dracut-initqueue[412]: Warning: dracut-initqueue timeout - starting timeout scripts
"""
HOOK = '/lib/dracut/hooks/initqueue/finished/devexists-root.sh: "[ -e "/dev/root" ]"'
WAITED_051 = f"""\
{WAITED[: WAITED.rindex("[")]}\
[  133.402117] dracut-initqueue[412]: Warning: dracut-initqueue: timeout, still waiting for following initqueue hooks:
[  133.403308] dracut-initqueue[412]: Warning: {HOOK}
[  133.404201] dracut-initqueue[412]: Warning: dracut-initqueue: starting timeout scripts
"""
WENT_ON = """\
[  133.931880] md/raid1:md0: active with 1 out of 2 mirrors
[  140.220914] systemd[1]: systemd 254.10+suse.84 running in system mode (+PAM +AUDIT)
"""
GAVE_UP = """\
[  201.118203] dracut-initqueue[412]: Warning: Could not boot.
Generating "/run/initramfs/rdsosreport.txt"


Entering emergency mode. Exit the shell to continue.
"""
STOPPED = """\
[  201.118203] dracut-initqueue[412]: Warning: Could not boot.
[  201.120940] dracut-initqueue[412]: Warning: Boot has failed. To debug this issue add "rd.shell rd.debug" to \
the kernel command line.
"""
DRACUT = ("rhel", "autoyast", "agama", "xcpng", "xcpng-restore")


@pytest.mark.parametrize("waited", [WAITED, WAITED_051], ids=["old", "051"])
@pytest.mark.parametrize("plan", DRACUT)
def test_an_array_that_starts_without_a_disk_is_no_failure(plan: str, waited: str, tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(waited + WENT_ON)
    boot = boot_of(plan, 1)
    assert list(follow(boot, console, "ssh")) == [phase.name for phase in boot.phases]


@pytest.mark.parametrize("end", [GAVE_UP, STOPPED], ids=["shell", "no-shell"])
@pytest.mark.parametrize("plan", DRACUT)
def test_a_root_that_never_came_is_a_failure_when_dracut_gives_up(plan: str, end: str, tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(WAITED_051 + end)
    with pytest.raises(NodeFailed) as caught:
        follow(boot_of(plan, 1), console)
    assert caught.value.cause == "no-root"


def test_a_root_that_is_still_waited_for_is_named_when_time_is_up(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(WAITED)
    with pytest.raises(TimedOut) as caught:
        follow(boot_of("xcpng", 1), console)
    assert caught.value.cause == "no-root"
    assert find_cause((NO_ROOT, NO_ROOT_YET), WAITED) == NO_ROOT_YET


REPORTED = [case for case in CASES if case[1] == 0 and case[3] not in ("question-asked",)]


@pytest.mark.parametrize(("plan", "boot", "text", "cause"), [case for case in REPORTED if case[0] != "netbsd"])
def test_the_same_in_the_log_that_came_with_a_report(
    plan: str, boot: int, text: str, cause: str, tmp_path: Path
) -> None:
    report = Report("fail", "install", "the installation failed", "before it\n" + said(text) + "\nafter it")
    with pytest.raises(NodeFailed) as caught:
        follow(start_of(boot_of(plan, boot), cause), tmp_path / "console.log", report)
    assert caught.value.cause == cause


# What xl, libxl, the scripts of /etc/xen and guests' kernels say: in a host's log, and of old hosts on the console.
GUEST_CASES = [
    ("Error: Device 0 (vif) could not be connected. Hotplug scripts not working.", "vif-not-connected"),  # xend
    ("libxl: error: libxl_device.c:1237:device_hotplug_child_death_cb: script: Could not find bridge device xenbr0",
     "vif-not-connected"),  # reported
    ("libxl: error: libxl_exec.c:117:libxl_report_child_exitstatus: /etc/xen/scripts/vif-bridge online [24802] exited "
     "with error status 1", "vif-not-connected"),  # reported
    ("libxl: error: libxl_create.c:1921:domcreate_attach_devices: Domain 1:unable to add vif devices",
     "vif-not-connected"),  # reported
    ("libxl: error: libxl_create.c:1685:domcreate_launch_dm: Domain 3:unable to add disk devices",
     "disk-not-connected"),
    ("ERROR Invalid kernel: xc_dom_probe_bzimage_kernel: unknown compression format", "kernel-compression"),
    ("xc: error: panic: xg_dom_bzimageloader.c:898: xc_dom_probe_bzimage_kernel unable to ZSTD decompress kernel: "
     "Invalid kernel", "kernel-compression"),
    ("xc: error: panic: xg_dom_core.c:690: xc_dom_find_loader: no loader found: Invalid kernel",
     "guest-kernel-refused"),
    ("failed to free memory for the domain", "guest-memory"),
    ("libxl: error: libxl_bootloader.c:767:bootloader_finished: Domain 4:bootloader failed - consult logfile "
     "/var/log/xen/bootloader.4.log", "guest-bootloader"),
    ("clocksource/0: Time went backwards: ret=8a6dc7b5ba delta=-43412 shadow=8a6db6d1d7", "time-went-backwards"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "cause"), GUEST_CASES, ids=[f"{cause}-{n}" for n, (_, cause) in enumerate(GUEST_CASES)]
)
def test_errors_of_guests_are_named_and_stop_no_host(line: str, cause: str, tmp_path: Path) -> None:
    found = find_cause(GUESTS, f"Parsing config from guest.cfg\n{line}\n")
    assert found is not None and found.name == cause
    assert not found.sure
    for plan in ("debian", "suse", "netbsd"):
        assert cause in {each.name for each in of_boots([boot_of(plan, 1)])}


CLEAN = ["xen-bookworm-bios", "xen-trixie-bios", "xen-trixie-uefi", "di-trixie-serial", "di-trixie-syslog"]


@pytest.mark.parametrize("transcript", CLEAN)
@pytest.mark.parametrize("plan", PLANS)
def test_nothing_that_a_good_machine_says_is_a_cause_of_any_system(plan: str, transcript: str) -> None:
    """Of every system's: what one kernel says without harm another says, too."""
    for boot in PLANS[plan].boots:
        found = find_cause(of_boots([boot]), said(transcript))
        assert found is None, found


def every() -> Iterator[tuple[str, Cause]]:
    for name, plan in PLANS.items():
        for cause in of_boots(plan.boots):
            yield name, cause
    for cause in (*GUESTS, *ENDS.values()):
        yield "all", cause


@pytest.mark.parametrize(
    ("of", "cause"), list(every()), ids=[f"{of}-{cause.name}-{n}" for n, (of, cause) in enumerate(every())]
)
def test_a_cause_has_a_plain_name_and_says_what_to_do(of: str, cause: Cause) -> None:
    assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", cause.name)
    assert cause.message and not cause.message.endswith(".")
    assert cause.cure
    pattern = re.compile(cause.pattern)
    assert cause.pattern == "" or not pattern.search(""), "it would match every line"
    assert cause.pattern == "" or not pattern.search("[    0.000000] Linux version 6.12.0 (a@b) #1 SMP")


def test_every_system_has_a_plan_here() -> None:
    several = {"autoyast": "suse", "agama": "suse", "xcpng-restore": "xcpng"}
    assert {several.get(name, name) for name in PLANS} == set(SYSTEMS)


def test_a_log_is_read_from_its_end_and_by_what_says_most() -> None:
    vague = Cause(pattern="failed", name="vague", message="x", cure="y", vague=True)
    why = Cause(pattern="because (one|two)", name="why", message="x", cure="y")
    other = Cause(pattern="because three", name="other", message="x", cure="y")
    causes = (why, other, vague, NO_NESTED_PAGING)
    assert find_cause(causes, "") is None
    assert find_cause(causes, "because three\nbecause one\nit failed\n") == why
    assert find_cause(causes, "it failed\n(XEN) HVM: Hardware Assisted Paging (HAP) not detected\n") == NO_NESTED_PAGING
    assert find_cause(causes, "it failed\nnothing\n") == vague


def test_the_real_installers_console_leads_through_the_phases_up_to_its_last_script(tmp_path: Path) -> None:
    """A run of Debian 13's from a medium, to where its last script failed."""
    console = tmp_path / "console.log"
    console.write_text(said("di-trixie-serial") + said("late-script-failed"))
    with pytest.raises(NodeFailed) as caught:
        follow(boot_of("debian", 0), console)
    assert (caught.value.cause, caught.value.phase) == ("script-failed", "settings")
