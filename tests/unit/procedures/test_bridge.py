"""Bridges for guests: what they are made of, and what keeps them from being made."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.procedures import load_procedure
from builder.procedures.bridge import _NO_FORWARD, _NO_GUESTS, _rules_path, _unit_path
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world


class Cards(FakeHost):
    """Interfaces as (master, MTU, kind, addresses); starting our service runs its commands, as systemd would."""

    def __init__(self, *, nft: bool = True) -> None:
        self.links: dict[str, tuple[str, int, str, list[str]]] = {
            "eth0": ("xenbr0", 1500, "card", []), "xenbr0": ("-", 1500, "bridge", ["10.0.2.15/24"]),
            "eth1": ("-", 1500, "card", []), "eth2": ("-", 1500, "card", ["192.0.2.1/24"]),
            "eth3": ("other", 1500, "card", []), "lo": ("-", 65536, "other", []),
        }  # fmt: skip
        self.enabled = self.nft_rules = self.active = False
        self.most = 9216
        self.forwards = "0"
        self.guests = ""
        self.stuck = False
        super().__init__({
            "sh -c": self._shell,
            "systemctl -q is-active": lambda _: "" if self.active else 3,
            "nft delete table": lambda _: self._no_rules(),
            "systemctl -q is-enabled": lambda _: "" if self.enabled else 1,
            "systemctl daemon-reload": "",
            "systemctl enable": lambda _: self._enable(True),
            "systemctl disable": lambda _: self._enable(False),
            "systemctl restart": lambda argv: self._start(argv[2]),
            "systemctl stop": lambda argv: self._stop(argv[2]),
            "ip ": lambda argv: self._ip(list(argv[1:])),
        })  # fmt: skip
        self.nft = nft

    def _shell(self, argv: Sequence[str]) -> str | int:
        if argv[2] == _NO_GUESTS:
            return 1 if self.guests else ""
        if "ip netns" in argv[2]:
            return "answered\n" if self.nft_rules and self.forwards == "1" else "silence\n"
        if argv[2] == _NO_FORWARD:
            self.forwards = "0"
            return ""
        if "nft list" in argv[2]:
            return f"{self.forwards}\n" + "chain postrouting { masquerade }\n" * self.nft_rules
        rows = [f"link {name} {master} {mtu} {kind} {' '.join(own)}".strip()
                for name, (master, mtu, kind, own) in self.links.items()]  # fmt: skip
        return (
            "\n".join(
                [
                    *rows,
                    "way xenbr0",
                    "way eth0",
                    f"most eth1 {self.most}",
                    f"forwards {self.forwards}",
                    *(["nft"] * self.nft),
                ]
            )
            + "\n"
        )

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _no_rules(self) -> str:
        self.nft_rules = False
        return ""

    def _start(self, unit: str) -> str | int:
        """A command that fails ends it, and leaves what was done: systemd.service(5), ExecStop=."""
        failed = self._commands(unit, "ExecStart=")
        self.active = not failed
        return failed

    def _stop(self, unit: str) -> str | int:
        done = self._commands(unit, "ExecStop=-") if self.active else ""
        self.active = False
        return done

    def _commands(self, unit: str, key: str) -> str | int:
        text = self.files[f"/etc/systemd/system/{unit}"].decode()
        for line in (line.removeprefix(key) for line in text.splitlines() if line.startswith(key)):
            if line.startswith("ip "):
                if self._ip(line.split()[1:]):
                    return 1
            elif line.startswith("nft "):
                self.nft_rules = line.startswith("nft -f")
            elif line.startswith("sysctl "):
                self.forwards = line[-1]
        return ""

    def _ip(self, words: list[str]) -> str | int:
        what, verb, *rest = words
        if (what, verb) == ("link", "add") and rest[1] in self.links:
            return 2  # RTNETLINK answers: File exists
        if what == "address" and verb == "add" and self.stuck:
            return 2
        if (what, verb) == ("link", "add"):
            self.links[rest[1]] = ("-", int(rest[3]), "bridge", [])
        elif (what, verb) == ("link", "delete"):
            del self.links[rest[1]]
            self.links = {n: ("-" if m == rest[1] else m, u, k, a) for n, (m, u, k, a) in self.links.items()}
        elif what == "link":
            name = rest[1]
            master, mtu, kind, own = self.links[name]
            given = dict(zip(rest[2::2], rest[3::2], strict=False))
            self.links[name] = (given.get("master", master), int(given.get("mtu", mtu)), kind, own)
        else:
            name = rest[rest.index("dev") + 1]
            own = self.links[name][3]
            own[:] = [] if verb == "flush" else [*(each for each in own if each != rest[0]), rest[0]]
        return ""


def do(host: FakeHost, **options: str) -> Outcome:
    procedure = load_procedure("bridge")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("bridge"))


@pytest.mark.parametrize(
    "options",
    [
        {"card": "eth1"},
        {"card": "eth1", "address": "10.9.0.1/24,fd00::1/64", "mtu": "1504"},
        {"card": "eth2", "address": "192.0.2.1/24"},
        {"address": "10.9.0.1/24", "nat": "true"},
        {},
    ],
)
@pytest.mark.parametrize("forwards", ["0", "1"])
def test_it_is_made_once_and_goes_again(options: dict[str, str], forwards: str) -> None:
    host = Cards()
    host.forwards = forwards
    before = {name: (*link[:3], [*link[3]]) for name, link in host.links.items()}
    done = do(host, **options)
    assert done.result == "applied" and all(each.ok for each in done.evidence)
    assert host.links["xenbr9"][2] == "bridge" and host.enabled
    host.changes.clear()
    assert (do(host, **options).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert (host.links, host.enabled, host.nft_rules, host.forwards) == (before, False, False, forwards)
    assert _unit_path("xenbr9") not in host.files and _rules_path("xenbr9") not in host.files


def test_one_that_is_asked_for_differently_is_made_anew_without_guests_on_it() -> None:
    host = Cards()
    do(host, address="10.9.0.1/24", nat="true")
    host.guests = "vif1.0"
    with pytest.raises(Failed, match="guests are on the bridge"):
        do(host, card="eth1")
    with pytest.raises(Failed, match="guests are on the bridge"):
        undo(host)
    host.guests = ""
    assert do(host, card="eth1", mtu="9000").result == "applied"
    assert host.links["eth1"][:2] == ("xenbr9", 9000) and _rules_path("xenbr9") not in host.files
    assert undo(host).result == "undone" and "xenbr9" not in host.links


def test_another_card_than_before_is_refused_since_the_first_would_be_forgotten() -> None:
    host = Cards()
    do(host, card="eth1")
    for other in ({"card": "eth2"}, {}):
        host.changes.clear()
        with pytest.raises(Refused, match="bridge is applied here with card=eth1") as caught:
            do(host, **other)
        assert "applied-otherwise" in [refusal.code for refusal in caught.value.refusals] and host.changes == []
    assert undo(host).result == "undone" and "xenbr9" not in host.links


@pytest.mark.parametrize(("options", "codes"), [
    ({"name": "xenbr0"}, ["name-taken"]),
    ({"card": "eth9"}, ["no-card"]),
    ({"card": "eth0"}, ["management", "other-bridge"]),
    ({"card": "eth3"}, ["other-bridge"]),
    ({"card": "eth2"}, ["has-address"]),
    ({"card": "eth2", "address": "192.0.2.9/24"}, ["has-address"]),
    ({"card": "eth1", "address": "192.0.2.1/24"}, ["address-taken"]),
    ({"address": "10.0.0.1/22"}, ["address-taken"]),
    ({"card": "eth1", "mtu": "9216"}, ["mtu"]),
    ({"nat": "true"}, ["nat-needs-address"]),
    ({"nat": "true", "address": "fd00::1/64"}, ["nat-needs-address"]),
    ({"nat": "true", "address": "10.9.0.1/24", "card": "eth1"}, ["nat-needs-address"]),
])  # fmt: skip
def test_what_would_cut_or_take_is_refused(options: dict[str, str], codes: list[str]) -> None:
    host = Cards()
    host.most = 9000
    with pytest.raises(Refused) as caught:
        do(host, **options)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


@pytest.mark.parametrize("again", [True, False])
def test_a_service_that_failed_half_way_is_made_anew_or_cleared_away(again: bool) -> None:
    host = Cards()
    before = {name: (*link[:3], [*link[3]]) for name, link in host.links.items()}
    host.stuck = True
    with pytest.raises(Failed):
        do(host, card="eth2", address="192.0.2.1/24")
    assert "xenbr9" in host.links and not host.active and host.links["eth2"][3] == []
    host.stuck = False
    if again:
        assert do(host, card="eth2", address="192.0.2.1/24").result == "applied" and host.active
    assert undo(host).result == "undone" and host.links == before and not host.enabled


@pytest.mark.parametrize("broken", ["ip address replace", "ip link set", "rm -f", "systemctl daemon-reload"])
def test_what_was_broken_off_on_the_way_back_goes_on(broken: str) -> None:
    host = Cards()
    before = {name: (*link[:3], [*link[3]]) for name, link in host.links.items()}
    do(host, card="eth2", address="192.0.2.1/24", mtu="9000")
    kept = host.answers.get(broken)
    host.answers[broken] = 1
    with pytest.raises(Failed):
        undo(host)
    host.answers.pop(broken)
    host.answers |= {broken: kept} if kept is not None else {}
    assert undo(host).result == "undone" and host.links == before


@pytest.mark.parametrize(("path", "text", "wanted"), [
    ("etc/sysctl.d/50.conf", "# net.ipv4.ip_forward=1\n", False),
    ("etc/sysctl.d/50.conf", "net.ipv4.ip_forward = 1\n", True),
    ("usr/lib/sysctl.d/50.conf", " -net/ipv4/ip_forward=1\n", True),
    ("etc/systemd/system/nestlab-bridge-a.service", "ExecStart=sysctl -q -w net.ipv4.ip_forward=1\n", False),
    ("etc/systemd/system/nestlab-bridge-b.service", "ExecStart=sysctl -q -w net.ipv4.ip_forward=1\n", True),
])  # fmt: skip
def test_forwarding_that_others_want_stays(tmp_path: Path, path: str, text: str, wanted: bool) -> None:
    """The real shell; sysctl only says that it was run."""
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    (tmp_path / "sysctl").write_text("#!/bin/sh\necho off\n")
    (tmp_path / "sysctl").chmod(0o755)
    script = _NO_FORWARD
    for folder in ("/etc/", "/run/", "/usr/local/", "/usr/lib/"):
        script = script.replace(f" {folder}", f" {tmp_path}{folder}")
    own = f"{tmp_path}/etc/systemd/system/nestlab-bridge-a.service"
    done = subprocess.run(["sh", "-c", script, "sh", own], capture_output=True, text=True, check=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin"})  # fmt: skip
    assert done.stdout == ("" if wanted else "off\n")


def test_translation_needs_nft() -> None:
    with pytest.raises(Refused, match="no-nft"):
        do(Cards(nft=False), nat="true", address="10.9.0.1/24")


@pytest.mark.parametrize("address", ["10.9.0.1", "10.9.0.300/24", "x/24"])
def test_addresses_are_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        do(Cards(), address=address)
