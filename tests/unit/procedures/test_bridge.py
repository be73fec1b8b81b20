"""Bridges for guests: what they are made of, and what keeps them from being made."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builder.errors import UsageError
from builder.procedures import load_procedure
from builder.procedures.bridge import _NO_FORWARD, _rules_path, _unit_path
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
        self.enabled = self.nft_rules = False
        self.forwards = "0"
        self.guests = ""
        super().__init__({
            "sh -c": self._shell,
            "systemctl -q is-enabled": lambda _: "" if self.enabled else 1,
            "systemctl daemon-reload": "",
            "systemctl enable": lambda _: self._enable(True),
            "systemctl disable": lambda _: self._enable(False),
            "systemctl restart": lambda argv: self._commands(argv[2], "ExecStart="),
            "systemctl stop": lambda argv: self._commands(argv[2], "ExecStop=-"),
            "ip ": lambda argv: self._ip(list(argv[1:])),
        })  # fmt: skip
        self.nft = nft

    def _shell(self, argv: Sequence[str]) -> str | int:
        if "/brif" in argv[2] and "vif|tap" in argv[2]:
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
        return "\n".join([*rows, "way xenbr0", "way eth0", f"forwards {self.forwards}", *(["nft"] * self.nft)]) + "\n"

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _commands(self, unit: str, key: str) -> str:
        text = self.files[f"/etc/systemd/system/{unit}"].decode()
        for line in (line.removeprefix(key) for line in text.splitlines() if line.startswith(key)):
            if line.startswith("ip "):
                self._ip(line.split()[1:])
            elif line.startswith("nft "):
                self.nft_rules = line.startswith("nft -f")
            elif line.startswith("sysctl "):
                self.forwards = line[-1]
        return ""

    def _ip(self, words: list[str]) -> str:
        what, verb, *rest = words
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
            own[:] = [] if verb == "flush" else [*own, rest[0]]
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
    ({"nat": "true"}, ["nat-needs-address"]),
    ({"nat": "true", "address": "fd00::1/64"}, ["nat-needs-address"]),
    ({"nat": "true", "address": "10.9.0.1/24", "card": "eth1"}, ["nat-needs-address"]),
])  # fmt: skip
def test_what_would_cut_or_take_is_refused(options: dict[str, str], codes: list[str]) -> None:
    host = Cards()
    with pytest.raises(Refused) as caught:
        do(host, **options)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


def test_translation_needs_nft() -> None:
    with pytest.raises(Refused, match="no-nft"):
        do(Cards(nft=False), nat="true", address="10.9.0.1/24")


@pytest.mark.parametrize("address", ["10.9.0.1", "10.9.0.300/24", "x/24"])
def test_addresses_are_addresses(address: str) -> None:
    with pytest.raises(UsageError):
        do(Cards(), address=address)
