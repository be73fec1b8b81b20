"""Guests that go from one plain Xen host to another and back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.guest_migrate import RESULT
from builder.procedures.guests import _ENTRIES, COUNT, entries
from builder.procedures.migration import AUTHORIZED, FOLDER, GATE
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world
from tests.support.local_host import LocalHost

ADDRESS = {"alpha": "10.20.0.1", "beta": "10.20.0.2"}
CONFIG = "/etc/xen/web.cfg"
DISK = "/srv/web.img"
OWN_KEY = "ssh-ed25519 AAAAown somebody\n"


class Dom0(FakeHost):
    """A host whose guests, files and keys do what xl, ssh and dd would with those of the other one."""

    def __init__(
        self, name: str, *, disk: str = "nfs", xen: str = "4 20", caps: str = "ff:0f", free: int = 900
    ) -> None:
        self.guests: dict[str, tuple[int, str]] = {}
        self.disk_kind, self.xen, self.caps, self.free = disk, xen.split(), caps, free
        self.other: Dom0
        self.answers_ssh, self.deaf, self.lost, self.breaks, self.bridges = True, False, 3, False, "lo xenbr0"
        self.folder = self.block = False
        self.plain: set[str] = set()
        self.shared = {"blocks": 100, "missing": 0, "pace": 7}  # of the disk that both see
        super().__init__({
            "xl list -l": lambda _: json.dumps([{"domid": 3, "config": {
                "disks": [{"pdev_path": DISK}] if disk else [], "nics": [{"bridge": "xenbr0"}]}}]),
            "xl list": lambda _: self._list(),
            "xl info": lambda _: f"xen_major : {self.xen[0]}\nxen_minor : {self.xen[1]}\nhw_caps : {self.caps}\n"
            f"free_memory : {self.free}\n",
            "xl create -q": self._create,
            "timeout": self._shutdown,
            "xenstore-read /local/domain/3/vm": lambda _: f"/vm/{self.guests['web'][1]}\n",
            "ls /sys/class/net": lambda _: self.bridges.replace(" ", "\n"),
            "sh -c": self._shell,
            "cat ": lambda argv: "ssh-ed25519 AAAAkey of\n" if self.folder or "host_ed25519" in argv[1] else 1,
            "mkdir -p -m 0700 /var/lib/nestlab/migration": lambda _: self._folder(True),
            "mkdir -p /etc/xen/auto": "",
            "ln -sf": lambda argv: self.files.update({argv[3]: self.files[argv[2]]}) or "",
            f"test -e {FOLDER}": lambda _: int(not self.folder),
        }, name=name)  # fmt: skip

    def _list(self) -> str:
        rows = [("Domain-0", 0, 1024)]
        rows += [(name, number, mib) for number, (name, (mib, _)) in enumerate(self.guests.items(), 3)]
        return "Name ID Mem VCPUs State Time(s)\n" + "".join(f"{n} {i} {m} 1 -b---- 1.0\n" for n, i, m in rows)

    def _folder(self, there: bool) -> str:
        self.folder = there
        return ""

    def _create(self, argv: Sequence[str]) -> str | int:
        if argv[3] not in self.files or (self.disk_kind == "ext4" and DISK not in self.files):
            return 1
        self.guests["web"] = (256, f"started-on-{self.name}")
        return ""

    def _shutdown(self, argv: Sequence[str]) -> str | int:
        if self.deaf:
            return 124
        del self.guests[argv[6]]
        return ""

    def _shell(self, argv: Sequence[str]) -> str | int:
        script, words = argv[2], list(argv[4:])
        if script == COUNT:
            self.shared["blocks"] += self.shared["pace"]
            return f"{self.shared['blocks']} {self.shared['missing']}\n"
        if "set -- /etc/xen/*" in script:
            return "".join(f"{path}:{text.decode().splitlines()[0]}\n" for path, text in self.files.items()
                           if path.startswith("/etc/xen/"))  # fmt: skip
        if script == _ENTRIES:
            return "".join(f"{'file' if path in self.plain else 'link'} {path}:{text.decode().splitlines()[0]}\n"
                           for path, text in self.files.items() if path.startswith("/etc/xen/auto/"))  # fmt: skip
        if "ssh-keyscan" in script:
            assert words == [self.other.name + ".migration"]
            there, here = ADDRESS[self.other.name], ADDRESS[self.name]
            return f"address={there}\nsource={here}\n" + "answers=yes\n" * self.other.answers_ssh
        if "stat -f -c %T" in script:
            if self.block:
                return "block 100 0x50_ab\n"
            held = self.files.get(DISK)
            return "absent 1000 -\n" if held is None else f"file {len(held)} {self.disk_kind}\n"
        if "ssh-keygen" in script:
            return self._folder(True)
        if "printf 'from=" in script:
            line = f'from="{words[0]}",restrict,command="{GATE}" ssh-ed25519 AAAAkey nestlab-migration\n'
            self.files[AUTHORIZED] = self.files.get(AUTHORIZED, b"") + line.encode()
            return ""
        if script.startswith("read -r kind"):
            assert words == [ADDRESS[self.other.name]]
            return ""
        if script.startswith("sed -i"):
            self.files[AUTHORIZED] = re.sub(rb".* nestlab-migration\n", b"", self.files.get(AUTHORIZED, b""))
            self.files.pop(GATE, None)
            return self._folder(False)
        assert f'from="{ADDRESS[self.name]}"' in self.other.files[AUTHORIZED].decode() and self.folder
        if "xl migrate" in script:
            return self._migrate(words)
        if 'dd if="$1"' in script:
            assert DISK not in self.other.files and not self.guests
            self.other.files[DISK] = self.files[DISK]
            return 1 if self.breaks else ""
        assert '"get $1"' in script and not self.other.guests
        self.files[DISK] = self.other.files[DISK]
        return ""

    def _migrate(self, words: Sequence[str]) -> str | int:
        guest, address, _, ping, result, *disk = words
        assert address == ADDRESS[self.other.name]
        told = f"/vm/{self.guests[guest][1]}\n"
        if ping:
            told += f"80 packets transmitted, {80 - self.lost} received, 1% packet loss\n"
        if disk:
            assert disk == ["/dev/disk/by-id/wwn-1", COUNT]
            told += f"written {self.shared['blocks']} 0\n"
        self.files[result] = told.encode()
        if self.breaks:
            return 1
        self.other.guests[guest] = self.guests.pop(guest)
        return ""


Pair = tuple[Dom0, Dom0]


def pair(disk: str = "nfs", **there: str | int) -> Pair:
    alpha, beta = Dom0("alpha", disk=disk), Dom0("beta", disk=disk, **there)  # type: ignore[arg-type]
    alpha.other, beta.other = beta, alpha
    beta.shared = alpha.shared
    alpha.files[CONFIG] = b'name = "web"\n'
    alpha.files[AUTHORIZED] = beta.files[AUTHORIZED] = OWN_KEY.encode()
    alpha.guests["web"] = (256, "first")
    if disk:
        alpha.files[DISK] = b"data"
    if disk == "nfs":
        beta.files[DISK] = b"data"
    return alpha, beta


def do(hosts: Pair, **options: str) -> Outcome:
    procedure = load_procedure("guest-migrate")
    given = {"guest": "web", "to": "beta", "via": "beta.migration", **options}
    return Engine(world(*hosts), sleep=lambda _: None).run("alpha", procedure, parse_options(procedure, given))


def undo(hosts: Pair) -> Outcome:
    return Engine(world(*hosts), sleep=lambda _: None).undo("alpha", load_procedure("guest-migrate"))


def closed(hosts: Pair) -> bool:
    return all(not host.folder and host.files[AUTHORIZED] == OWN_KEY.encode() for host in hosts)


@pytest.mark.parametrize("disk", ["nfs", ""])
def test_it_goes_live_and_comes_back_the_same_run(disk: str) -> None:
    alpha, beta = hosts = pair(disk)
    alpha.files["/etc/xen/auto/web.cfg"] = b'name = "web"\n'
    done = do(hosts, address="10.0.0.9")
    assert done.result == "applied" and closed(hosts)
    assert {each.what: each.seen for each in done.evidence}["pings lost meanwhile"] == "3 of 80"
    assert (alpha.guests, beta.guests) == ({}, {"web": (256, "first")})
    assert "/etc/xen/auto/web.cfg" not in alpha.files and {CONFIG, "/etc/xen/auto/web.cfg"} <= set(beta.files)
    assert do(hosts, address="10.0.0.9").result == "unchanged"
    assert undo(hosts).result == "undone"
    assert (alpha.guests, beta.guests) == ({"web": (256, "first")}, {})
    assert "/etc/xen/auto/web.cfg" in alpha.files and closed(hosts)
    assert not {CONFIG, "/etc/xen/auto/web.cfg"} & set(beta.files)
    assert not [path for host in hosts for path in host.files if path.startswith(RESULT)]


def test_what_is_written_meanwhile_is_on_the_disk() -> None:
    hosts = pair()
    done = do(hosts, disk="/dev/disk/by-id/wwn-1")
    seen = {each.what: each.seen for each in done.evidence}
    assert seen["blocks written to the disk since the migration began"] == "7"
    assert seen["blocks written while this was looked at"] == "7" and seen["blocks that are missing on the disk"] == "0"
    assert undo(hosts).result == "undone"


@pytest.mark.parametrize(("key", "value", "why"), [
    ("missing", 1, "missing on the disk: expected 0, seen 1"),
    ("pace", 0, "while this was looked at: expected more than none, seen 0"),
])  # fmt: skip
def test_a_writer_that_lost_something_or_stopped_is_seen(key: str, value: int, why: str) -> None:
    hosts = pair()
    hosts[0].shared[key] = value
    with pytest.raises(Unproven, match=why):
        do(hosts, disk="/dev/disk/by-id/wwn-1")


def test_without_shared_storage_its_disks_go_and_what_was_written_there_comes_back() -> None:
    alpha, beta = hosts = pair("ext4")
    assert do(hosts, storage="copy").result == "applied"
    assert beta.files[DISK] == b"data" and "web" in beta.guests and closed(hosts)
    assert do(hosts, storage="copy").result == "unchanged"
    beta.files[DISK] = b"data and more"
    assert undo(hosts).result == "undone"
    assert alpha.files[DISK] == b"data and more" and alpha.guests and not beta.guests
    assert DISK not in beta.files and CONFIG not in beta.files and closed(hosts)


def test_what_a_guest_wrote_there_comes_back_though_it_is_shut_down_by_now() -> None:
    alpha, beta = hosts = pair("ext4")
    do(hosts, storage="copy")
    beta.files[DISK] = b"data and more"
    beta.guests.clear()
    assert undo(hosts).result == "undone"
    assert alpha.files[DISK] == b"data and more" and alpha.guests
    assert not [path for path in beta.files if path == DISK or path.startswith("/var/lib/nestlab/arrived")]


def test_what_a_guest_wrote_there_stays_when_somebody_started_it_here_from_what_was() -> None:
    alpha, beta = hosts = pair("ext4")
    do(hosts, storage="copy")
    beta.files[DISK] = b"data and more"
    beta.guests.clear()
    alpha.guests["web"] = (256, "started by hand")
    with pytest.raises(Unproven, match=f"may be newer than those here: expected none, seen {DISK}"):
        undo(hosts)
    assert beta.files[DISK] == b"data and more"
    alpha.guests.clear()
    assert undo(hosts).result == "undone" and alpha.files[DISK] == b"data and more"


def test_a_guest_that_does_not_start_there_is_fetched_back() -> None:
    alpha, beta = hosts = pair("ext4")
    beta.answers["xl create -q"] = 1
    with pytest.raises(Failed):
        do(hosts, storage="copy")
    assert undo(hosts).result == "undone"
    assert alpha.files[DISK] == b"data" and alpha.guests and DISK not in beta.files and closed(hosts)


def test_a_copy_that_goes_wrong_is_undone_and_the_guest_runs_again_where_it_was() -> None:
    alpha, beta = hosts = pair("ext4")
    alpha.breaks = True
    with pytest.raises(Failed, match="the copy is not what was sent"):
        do(hosts, storage="copy")
    assert not alpha.guests
    assert undo(hosts).result == "undone"
    assert alpha.guests and DISK not in beta.files and closed(hosts)


def test_a_migration_that_fails_leaves_the_guest_and_undone_leaves_no_way() -> None:
    alpha, _ = hosts = pair()
    alpha.breaks = True
    with pytest.raises(Failed, match="web goes on running where it was"):
        do(hosts)
    assert "web" in alpha.guests and not closed(hosts)
    assert undo(hosts).result == "undone"
    assert "web" in alpha.guests and closed(hosts)


def test_a_guest_that_does_not_shut_down_is_told() -> None:
    alpha, _ = hosts = pair("ext4")
    alpha.deaf = True
    with pytest.raises(Failed, match="web does not shut down"):
        do(hosts, storage="copy")
    assert undo(hosts).result == "undone"
    assert alpha.guests and closed(hosts)


def test_more_lost_pings_than_allowed_and_a_new_start_disprove_it() -> None:
    alpha, beta = hosts = pair()
    alpha.lost = 60
    with pytest.raises(Unproven, match="seen 60 of 80"):
        do(hosts, address="10.0.0.9")
    beta.guests["web"] = (256, "started anew")
    with pytest.raises(Unproven, match="the same run"):
        do(hosts)


AUTO = "/etc/xen/auto/web.cfg"


def test_a_guest_that_went_is_started_by_one_host_alone_though_it_was_broken_off() -> None:
    alpha, beta = hosts = pair()
    alpha.files |= {AUTO: b'name = "web"\n', "/etc/xen/auto/10-web": b'name = "web"\n',
                    "/etc/xen/auto/other": b'name = "we.b"\n'}  # fmt: skip
    link = beta.answers.pop("ln -sf")
    with pytest.raises(Failed):
        do(hosts)
    assert beta.guests and AUTO in alpha.files and not closed(hosts)
    beta.answers["ln -sf"] = link
    assert do(hosts).result == "applied" and closed(hosts)
    assert [path for path in alpha.files if "/auto/" in path] == ["/etc/xen/auto/other"] and AUTO in beta.files
    assert do(hosts).result == "unchanged"
    link = alpha.answers.pop("ln -sf")
    with pytest.raises(Failed):
        undo(hosts)
    assert alpha.guests and AUTO not in alpha.files
    alpha.answers["ln -sf"] = link
    assert undo(hosts).result == "undone" and closed(hosts)
    assert {AUTO, "/etc/xen/auto/10-web"} <= set(alpha.files) and not {CONFIG, AUTO} & set(beta.files)


def test_files_of_others_and_the_only_file_of_the_guest_are_left() -> None:
    alpha, beta = hosts = pair()
    alpha.files[AUTO] = alpha.files.pop(CONFIG)
    alpha.plain = {AUTO}
    with pytest.raises(Refused, match="no-link"):
        do(hosts)
    alpha, beta = hosts = pair()
    beta.files[CONFIG] = b'name = "another"\n'
    with pytest.raises(Refused, match="other-configuration"):
        do(hosts)
    assert alpha.changes == beta.changes == []


def test_entries_are_told_from_links_by_the_real_shell(tmp_path: Path) -> None:
    (tmp_path / "web.cfg").write_text("memory = 64\n  name='web'\n")
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto/10 web").symlink_to("../web.cfg")
    (tmp_path / "auto/gone").symlink_to("../gone.cfg")
    (tmp_path / "auto/db.cfg").write_text('name = "db"\n')
    host = LocalHost()
    asked = host.run
    host.run = lambda argv, **more: asked([*argv[:-1], f"{tmp_path}/auto"], **more)  # type: ignore[method-assign]
    assert entries(host) == (("web", f"{tmp_path}/auto/10 web", "link"), ("db", f"{tmp_path}/auto/db.cfg", "file"))


@pytest.mark.parametrize(
    ("there", "codes"),
    [
        ({"free": 100}, ["no-memory"]),
        ({"xen": "4 17"}, ["older-xen"]),
        ({"caps": "7f:0f"}, ["lesser-cpu"]),
        ({"xen": "4 17", "free": 1, "caps": "fe:00"}, ["no-memory", "older-xen", "lesser-cpu"]),
    ],
)
def test_a_host_that_cannot_take_it_is_refused(there: dict[str, str], codes: list[str]) -> None:
    hosts = pair(**there)
    with pytest.raises(Refused) as caught:
        do(hosts)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert [host.changes for host in hosts] == [[], []]


def test_other_reasons_against_it() -> None:
    alpha, beta = hosts = pair()
    beta.bridges, beta.answers_ssh = "lo br9", False
    beta.guests["web"] = (64, "another")
    del alpha.files[CONFIG]
    with pytest.raises(Refused) as caught:
        do(hosts)
    assert [r.code for r in caught.value.refusals] == ["runs-there", "no-configuration", "no-way", "no-network"]
    hosts = pair()
    hosts[0].guests.clear()
    with pytest.raises(Refused, match="not-running"):
        do(hosts)
    hosts[1].dialect = "xe"
    with pytest.raises(Refused, match="other-kind"):
        do(hosts)


@pytest.mark.parametrize(("disk", "there", "storage", "code"), [
    ("ext4", b"data", "shared", "not-shared"), ("nfs", None, "shared", "no-disk"), ("ext4", b"x", "copy", "disk-there"),
    ("ext4", None, "copy", "no-room"),
])  # fmt: skip
def test_disks_that_would_be_lost_are_a_reason(disk: str, there: bytes | None, storage: str, code: str) -> None:
    alpha, beta = hosts = pair(disk)
    beta.files.pop(DISK, None)
    if there is not None:
        beta.files[DISK] = there
    elif code == "no-room":
        alpha.files[DISK] = b"0" * 2000
    with pytest.raises(Refused) as caught:
        do(hosts, storage=storage)
    assert [refusal.code for refusal in caught.value.refusals] == [code]


def test_devices_are_the_same_by_their_number_and_are_not_copied() -> None:
    alpha, beta = hosts = pair()
    for host in (alpha, beta):
        host.block = True
    assert do(hosts).result == "applied" and undo(hosts).result == "undone"
    with pytest.raises(Refused, match="not-a-file"):
        do(hosts, storage="copy")
