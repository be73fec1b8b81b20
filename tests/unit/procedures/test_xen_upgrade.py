"""Another Xen: the one before it boots by itself until the new one was seen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import pytest

from builder.errors import LabError, TimedOut
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused
from builder.procedures.grubcfg import default_of, entry_of
from builder.procedures.options import parse_options
from builder.procedures.xen_upgrade import DROP_IN, ENTRY, FILE, SCRIPT
from tests.support.fake_host import FakeHost, world

OLD, NEW, NEWER = "4.20.2+7-1", "4.20.4+63-1", "4.20.5-1"
BANNER = "(XEN) Xen version {short} (Debian {full}) (pkg@lists) (gcc 14) debug=n Wed Nov  4 16:52:28 UTC 2026\n"
SUSE_BANNER = (
    "(XEN) Xen version {full} (abuild@suse.de) (gcc (SUSE Linux) 7.5.0) debug=n Wed Nov  4 16:52:28 UTC 2026\n"
)
XEN = "Debian GNU/Linux, with Xen hypervisor"
MENU = f"""\
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1' {{
\tlinux\t/boot/vmlinuz-6.12 root=LABEL=root
}}
submenu 'Advanced options' $menuentry_id_option 'gnulinux-advanced-1' {{
\tmenuentry 'Debian, with Linux 6.12' {{
\t\tlinux\t/boot/vmlinuz-6.12
\t}}
}}
menuentry '{XEN}' --class xen $menuentry_id_option 'xen-gnulinux-simple-1' {{
\tif [ x$feature_platform_search_hint = xy ]; then
\t  search --no-floppy --fs-uuid --set=root 1
\tfi
\tmultiboot2\t/boot/xen-4.20-amd64.gz placeholder dom0_mem=1024M
\tmodule2\t/boot/vmlinuz-6.12 placeholder root=LABEL=root ro
}}
"""


class Host(FakeHost):
    """A host whose boot loader, packages and hypervisor files go together as they do on a real one."""

    def __init__(self, family: str = "debian", *, offered: Sequence[str] = (NEW, OLD)) -> None:
        self.suse = family == "suse"
        self.prefix = "grub2" if self.suse else "grub"
        self.config = f"/boot/{self.prefix}/grub.cfg"
        self.installed = self.running = OLD
        self.offered = [*offered]
        self.kernels: dict[str, str] = {"xen-4.20-amd64.gz": OLD}
        self.environment = {"saved_entry": XEN} if self.suse else {}
        self.breaks: str = ""
        self.guests = ""
        super().__init__({
            "sh -c '. /etc/os-release": lambda _: "opensuse-leap suse opensuse\n" if self.suse else "debian \n",
            "xl dmesg": lambda _: (SUSE_BANNER if self.suse else BANNER).format(short="4.20", full=self.running)
            if self.running else "(XEN) later lines\n",
            "xl list": lambda _: "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n" + self.guests,
            "xl info": "free_memory : 1\n",
            "sh -c": self._shell,
            f"{self.prefix}-editenv - list": lambda _: "".join(f"{k}={v}\n" for k, v in self.environment.items()),
            f"{self.prefix}-editenv - set": self._set,
            f"{self.prefix}-editenv - unset": lambda argv: self.environment.pop(argv[3], "") and "",
            f"{self.prefix}-set-default": lambda argv: self._set((*argv[:1], "", "", f"saved_entry={argv[1]}")),
            f"{self.prefix}-reboot": lambda argv: self._set((*argv[:1], "", "", f"next_entry={argv[1]}")),
            "cp -p /boot/": self._copy,
            f"rm -f -- /boot/{FILE}": lambda _: self.kernels.pop(FILE, "") and "",
            "grep -qF": lambda argv: int(argv[3].encode() not in self.files[argv[4]]),
            "update-grub": self._update,
            "grub2-mkconfig": self._update,
            "env DEBIAN_FRONTEND=noninteractive apt-get install": self._install,
            "zypper --non-interactive install": self._install,
        })  # fmt: skip
        self.on_reboot = self._start
        self._update(())

    def _shell(self, argv: Sequence[str]) -> str | int:
        if "findmnt" in argv[2]:
            return "yes\n"
        if "Xen version" in argv[2]:
            banner = (SUSE_BANNER if self.suse else BANNER).format(short="4.20", full=self.running)
            return told(argv[2], argv[4], banner)
        packages = ("xen", "xen-tools") if self.suse else ("xen-hypervisor-4.20-amd64", "xen-utils-4.20")
        rows = [f"pkg {name} {self.installed}" for name in packages]
        if argv[4] or self.suse:
            rows += [
                *(f"has {version}" for version in self.offered),
                *(f"newest {version}" for version in self.offered[:1]),
            ]
        return "".join(f"{row}\n" for row in rows)

    def _set(self, argv: Sequence[str]) -> str:
        name, _, value = argv[3].partition("=")
        self.environment[name] = value
        return ""

    def _copy(self, argv: Sequence[str]) -> str:
        self.kernels[argv[3].rpartition("/")[2]] = self.kernels[argv[2].rpartition("/")[2]]
        return ""

    def _install(self, argv: Sequence[str]) -> str | int:
        pinned = [word.partition("=")[2] for word in argv if word.startswith("xen") and "=" in word]
        assert len(pinned) == 2 and len(set(pinned)) == 1
        if pinned[0] not in self.offered:
            return 100
        self.installed = self.kernels["xen-4.20-amd64.gz"] = pinned[0]
        return ""

    def _update(self, _: Sequence[str]) -> str:
        files = {path: text.decode() for path, text in self.files.items()}
        script = files.get(SCRIPT, "")
        default = "${saved_entry}" if self.suse else XEN
        if DROP_IN in files:
            default = re.findall(r"^GRUB_DEFAULT=(.*)$", files[DROP_IN], re.MULTILINE)[0]
        extra = "".join(script.splitlines(True)[2:])
        self.files[self.config] = (
            f'   set default="${{next_entry}}"\n   set default="{default}"\n{MENU}{extra}'.encode()
        )
        return ""

    def _start(self) -> None:
        config = self.files[self.config].decode()
        chosen = self.environment.pop("next_entry", "") or default_of(config) or self.environment["saved_entry"]
        version = self.kernels[re.findall(r"multiboot2\s+/boot/(\S+)", entry_of(config, chosen))[0]]
        if version == self.breaks:
            raise TimedOut("another boot id after a reboot", seconds=1, node=self.name)
        self.running = version

    def pull_the_plug(self) -> None:
        self._start()


def told(script: str, version: str, log: str) -> int:
    """What the script's own look at Xen's log ends with, by a real shell."""
    script = script.replace("xl dmesg", "cat")
    return subprocess.run(["sh", "-c", script, "sh", version], input=log, text=True, check=False).returncode


def do(host: Host, **options: str) -> Outcome:
    procedure = load_procedure("xen-upgrade")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: Host) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("xen-upgrade"))


@pytest.fixture(params=["debian", "suse"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(request.param)


def test_the_new_one_runs_and_the_old_one_stays_on_the_menu(host: Host) -> None:
    environment = dict(host.environment)
    done = do(host)
    assert (done.result, done.rebooted, host.running) == ("applied", True, NEW)
    assert {each.what for each in done.evidence} >= {"GRUB boots by itself", "version that Xen told when it started"}
    config = host.files[host.config].decode()
    assert entry_of(config, ENTRY).count(f"/boot/{FILE} placeholder dom0_mem=1024M") == 1
    assert (DROP_IN in host.files, host.environment) == (False, environment)
    assert do(host).result == "unchanged"
    assert undo(host).result == "undone"
    assert (host.running, host.installed, host.kernels) == (OLD, OLD, {"xen-4.20-amd64.gz": OLD})
    assert (SCRIPT in host.files, ENTRY in host.files[host.config].decode()) == (False, False)
    assert host.environment == environment


def test_one_that_does_not_start_leaves_the_old_one_to_boot_by_itself(host: Host) -> None:
    host.breaks = NEW
    with pytest.raises(Failed, match="pulling the plug brings back the one before"):
        do(host)
    host.pull_the_plug()
    assert host.running == OLD
    host.breaks = ""
    assert do(host).result == "applied"
    assert host.running == NEW and DROP_IN not in host.files and "nestlab_default" not in host.environment
    assert undo(host).result == "undone"
    assert host.running == OLD


def test_undone_at_once_after_a_new_one_that_does_not_start(host: Host) -> None:
    host.breaks = NEW
    with pytest.raises(Failed):
        do(host)
    host.pull_the_plug()
    done = undo(host)
    assert (done.result, done.rebooted, host.installed, host.running) == ("undone", False, OLD, OLD)
    assert SCRIPT not in host.files and DROP_IN not in host.files
    assert do(host, version=OLD).result == "unchanged"


def test_one_that_crashes_and_comes_back_as_the_old_one_is_told(host: Host) -> None:
    def start() -> None:
        host.environment.pop("next_entry")
        host.running = OLD

    host.on_reboot = start
    with pytest.raises(Failed, match="the new Xen did not start: the one before it runs"):
        do(host)
    assert DROP_IN in host.files or host.environment["saved_entry"] == ENTRY


def test_an_old_one_whose_version_begins_like_the_new_one_is_not_taken_for_it(host: Host) -> None:
    host.offered = [OLD, NEW]
    host.installed = host.running = host.kernels["xen-4.20-amd64.gz"] = f"{NEW}.1"
    host.offered.append(host.running)

    def start() -> None:
        host.environment.pop("next_entry")

    host.on_reboot = start
    with pytest.raises(Failed, match="the new Xen did not start: the one before it runs"):
        do(host, version=NEW)
    assert DROP_IN in host.files or host.environment["saved_entry"] == ENTRY


def test_old_packages_that_are_gone_are_replaced_by_the_entry(host: Host) -> None:
    host.offered = [NEW]
    do(host)
    done = undo(host)
    assert (done.result, done.rebooted, host.running, host.installed) == ("undone", True, OLD, NEW)
    host.reboot(wait=1)
    assert host.running == OLD


def test_a_version_may_be_asked_for(host: Host) -> None:
    host.offered = [NEWER, NEW, OLD]
    assert do(host, version=NEW).result == "applied"
    assert host.running == NEW
    assert do(host).result == "applied"
    assert host.running == NEWER and undo(host).result == "undone"
    assert host.running == OLD


def test_nothing_offered_is_nothing_done(host: Host) -> None:
    host.offered = []
    done = do(host)
    assert (done.result, len(done.advice)) == ("unchanged", 1)
    host.offered = [OLD]
    assert (do(host).result, do(host).advice, host.changes) == ("unchanged", (), [])


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda host: setattr(host, "running", "4.20.1-1"), ["installed-not-running"]),
        (lambda host: setattr(host, "running", ""), ["installed-not-running"]),
        (lambda host: setattr(host, "guests", "web 3 256 1 -b---- 1.0\n"), ["guests-run"]),
        (lambda host: host.answers.update({"sh -c": lambda argv: "\n" if "findmnt" in argv[2] else host._shell(argv)}),
         ["no-one-shot"]),
        (lambda host: host.files.update({host.config: b'set default="0"\n' + MENU.encode()}), ["xen-not-default"]),
    ],
)  # fmt: skip
def test_reasons_against_it(host: Host, change: object, codes: list[str]) -> None:
    change(host)  # type: ignore[operator]
    with pytest.raises(Refused) as caught:
        do(host, version=NEW)
    assert set(codes) <= {refusal.code for refusal in caught.value.refusals}
    assert host.changes == []


def test_a_version_that_nobody_offers_is_refused(host: Host) -> None:
    with pytest.raises(Refused, match="not-offered") as caught:
        do(host, version="5.0-1")
    assert f"{NEW} {OLD}" in str(caught.value) and host.changes == []


def test_other_hosts_are_told_apart() -> None:
    host = Host()
    host.answers["sh -c '. /etc/os-release"] = "fedora \n"
    with pytest.raises(LabError, match="neither a Debian nor a SUSE host"):
        do(host)
