"""Open vSwitch, the real one, in a network of its own: bridges, cables to guests that are not there, and frames.

Its packages are unpacked, not installed, and nothing but this process knows of it: its datapath is a program too (no
module of the kernel), and it ends with whoever started it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.support.debs import unpacked

_PACKAGES = (
    "openvswitch-switch", "openvswitch-common", "libbpf1", "libcap-ng0", "libelf1", "libevent-2.1-7", "libnghttp2-14",
    "libnuma1", "libssl3", "libunbound8", "libxdp1",
)  # fmt: skip
_NEWNET, _EVERYTHING, _OUTGOING = 0x40000000, 0x0003, 4  # as <sched.h>, <linux/if_ether.h> and <linux/if_packet.h> say
_PATIENCE = 30.0  # seconds that a busy machine may take for what takes milliseconds

_ICMPV6 = (134, 137, 146, 147, 151, 152, 153)
# What the rules are that setup-vif-rules of xapi (ocaml/xenopsd/scripts) makes for a locked interface, as Open vSwitch
# 3.1.0 prints them when that script's create_vswitch_rules has been run against it.
_ONCE = [
    "priority=8000,udp,in_port={port},dl_src={mac},tp_dst=67 actions=NORMAL",
    "priority=7000,arp,in_port={port},dl_src={mac},arp_spa=0.0.0.0,arp_sha={mac} actions=NORMAL",
    *(f"priority=7000,icmp6,in_port={{port}},icmp_type={kind} actions=drop" for kind in (135, 136)),
    *(f"priority=6000,icmp6,in_port={{port}},icmp_type={kind} actions=drop" for kind in _ICMPV6),
    "priority=4000,in_port={port} actions=drop",
]
_EACH_IPV4 = [
    "priority=7000,arp,in_port={port},dl_src={mac},arp_spa={ip},arp_sha={mac} actions=NORMAL",
    "priority=6000,ip,in_port={port},dl_src={mac},nw_src={ip} actions=NORMAL",
]
_EACH_IPV6 = [
    "priority=8000,icmp6,in_port={port},dl_src={mac},ipv6_src={ip},icmp_type=135,nd_sll={mac} actions=NORMAL",
    "priority=8000,icmp6,in_port={port},dl_src={mac},ipv6_src={ip},icmp_type=136,nd_target={ip} actions=NORMAL",
    *(f"priority=5000,{kind},in_port={{port}},dl_src={{mac}},ipv6_src={{ip}} actions=NORMAL"
      for kind in ("icmp6", "tcp6", "udp6")),
]  # fmt: skip


def locked(port: str, mac: str, ipv4: Sequence[str], ipv6: Sequence[str] = ()) -> list[str]:
    """The rules of an interface that is locked."""
    rules = [*((rule, "") for rule in _ONCE), *((rule, ip) for ip in ipv4 for rule in _EACH_IPV4),
             *((rule, ip) for ip in ipv6 for rule in _EACH_IPV6)]  # fmt: skip
    return [rule.format(port=port, mac=mac, ip=ip) for rule, ip in rules]


class Switch:
    """A running Open vSwitch. `environment` is what its tools need to find it, and to be found."""

    def __init__(self, folder: Path) -> None:
        root = unpacked("12", _PACKAGES)
        self._schema = root / "usr/share/openvswitch/vswitch.ovsschema"
        self._folder = folder
        folders = ("usr/bin", "usr/sbin", "usr/lib/openvswitch-switch")
        libraries = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
        own = dict.fromkeys(("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"), str(folder))
        self.environment: Mapping[str, str] = {
            **os.environ, **own,
            "PATH": ":".join([*(str(root / each) for each in folders), os.environ["PATH"]]),
            "LD_LIBRARY_PATH": ":".join(str(root / each) for each in libraries),
        }  # fmt: skip
        self._started: list[subprocess.Popen[bytes]] = []
        self._cables: dict[str, socket.socket] = {}

    def __enter__(self) -> Switch:
        try:
            self.run("ovsdb-tool", "create", str(self._folder / "conf.db"), str(self._schema))
            self._start("unshare", "--net", "ovsdb-server", str(self._folder / "conf.db"), "--remote=punix:db.sock",
                        "--pidfile", "--unixctl=db.ctl")  # fmt: skip
            self.run("ovs-vsctl", "--retry", "--timeout=60", "--no-wait", "init")  # waits for the database
            self._start(*self._inside, "ovs-vswitchd", "unix:db.sock", "--disable-system", "--pidfile")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for cable in self._cables.values():
            cable.close()
        for process in reversed(self._started):
            process.terminate()
            process.wait(_PATIENCE)

    def _start(self, *argv: str) -> None:
        """It is killed when this process ends without a word, too."""
        with (self._folder / f"{len(self._started)}.log").open("wb") as log:
            self._started.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment))  # fmt: skip

    @property
    def _inside(self) -> tuple[str, ...]:
        return "nsenter", "--target", str(self._started[0].pid), "--net"

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a tool prints."""
        done = subprocess.run(argv, env=self.environment, input=stdin, capture_output=True, text=True, check=False)
        logs = "".join(path.read_text() for path in sorted(self._folder.glob("*.log"))) if done.returncode else ""
        assert done.returncode == 0, f"{argv}: {done.stderr}{logs}"
        return done.stdout

    def ip(self, *words: str) -> str:
        return self.run(*self._inside, "ip", *words)

    def add_bridge(self, name: str, *below: str) -> None:
        """A bridge; with another one's name and a tag, the VLAN's."""
        own = ("--", "set", "bridge", name, "datapath_type=netdev") if not below else ()
        self.run("ovs-vsctl", "--timeout=60", "add-br", name, *below, *own)

    def plug(self, bridge: str, name: str, *, number: str = "") -> str:
        """An interface on a bridge, with a cable at its other end. Returns the number that the port has got."""
        if name not in self._cables:
            self.ip("link", "add", name, "type", "veth", "peer", "name", f"x{name}")
            for end in (name, f"x{name}"):
                self.ip("link", "set", end, "up")
            self._cables[name] = self._cable(f"x{name}")
        wanted = ("--", "set", "interface", name, f"ofport_request={number}") if number else ()
        self.run("ovs-vsctl", "--timeout=60", "add-port", bridge, name, *wanted)
        return self.number(name)

    def number(self, name: str) -> str:
        """The number of an interface's port; empty when it has none."""
        return self.run("ovs-vsctl", "--if-exists", "get", "interface", name, "ofport").strip()

    def unplug(self, name: str) -> None:
        self.run("ovs-vsctl", "--timeout=60", "--if-exists", "del-port", name)

    def gone(self, name: str) -> None:
        """The interface ends, as with its guest."""
        self._cables.pop(name).close()
        self.ip("link", "delete", name)

    def rules(self, bridge: str, *added: str) -> list[str]:
        """The rules of a bridge, without counters, after some more are added; those that all bridges begin with are
        not told."""
        if added:
            self.run("ovs-ofctl", "add-flows", bridge, "-", stdin="".join(f"cookie=1,{rule}\n" for rule in added))
            self.settle()
        lines = self.run("ovs-ofctl", "dump-flows", bridge).splitlines()[1:]
        found = [f"priority={line.partition('priority=')[2]}" for line in lines]
        return [rule for rule in found if not rule.startswith("priority=0 ")]

    def drop(self, bridge: str, rule: str) -> None:
        """Takes this rule out, and no other."""
        self.run("ovs-ofctl", "--strict", "del-flows", bridge, rule.partition(" ")[0])
        self.settle()

    def settle(self) -> None:
        """What the datapath remembers of rules as they were is forgotten: the next frame is judged by those of now."""
        self.run("ovs-appctl", "dpctl/del-flows")

    def arrived(self, flows: Mapping[str, str], last: str, *, by: str, at: Sequence[str]) -> set[str]:
        """Which of these frames, that are sent by a cable, come out of others: each of all of them, or of none.

        `last` has to arrive: by the same cable or, given as CABLE|FLOW, another. It is sent when the others are, and
        once more when it has arrived: Open vSwitch takes up to 32 frames at a time, and may put those first that it
        has no memory of. After the second nothing of the others comes any more.
        """
        cable, bar, following = last.rpartition("|")
        tokens = {name: os.urandom(12) for name in (*flows, "first", "second")}
        for name, flow in flows.items():
            self._send(by, flow, tokens[name])
        heard: dict[str, set[str]] = {name: set() for name in at}
        for turn in ("first", "second"):
            self._send(cable if bar else by, following, tokens[turn])
            for name, names in heard.items():
                self._hear(name, {token: each for each, token in tokens.items()}, turn, names)
        found = [names - {"first", "second"} for names in heard.values()]
        assert all(each == found[0] for each in found), heard
        return found[0]

    def _send(self, cable: str, flow: str, token: bytes) -> None:
        self._cables[cable].send(frame_of(flow).ljust(60, b"\0") + token)

    def _hear(self, cable: str, tokens: Mapping[bytes, str], last: str, into: set[str]) -> None:
        """Reads what has come out of a cable, until this has."""
        end = time.monotonic() + _PATIENCE
        while last not in into:
            assert time.monotonic() < end, "the frame that has to arrive did not"
            got, address = self._cables[cable].recvfrom(4096)
            if address[2] != _OUTGOING and got[-12:] in tokens:
                into.add(tokens[got[-12:]])

    def silent(self, name: str, mac: str) -> bool:
        """If nothing that a MAC sent has come out of a cable until now."""
        cable, heard = self._cables[name], False
        cable.setblocking(False)
        try:
            while True:
                got, address = cable.recvfrom(4096)
                heard |= address[2] != _OUTGOING and got[6:12] == _mac(mac)
        except BlockingIOError:
            return not heard
        finally:
            cable.settimeout(_PATIENCE)

    def _cable(self, name: str) -> socket.socket:
        """A socket stays in the network that it was made in, and a thread may be in another than its process."""

        def made() -> socket.socket:
            with Path(f"/proc/{self._started[0].pid}/ns/net").open() as network:
                assert ctypes.CDLL(None).setns(network.fileno(), _NEWNET) == 0
            cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
            cable.bind((name, 0))
            cable.settimeout(_PATIENCE)
            return cable

        with ThreadPoolExecutor(1) as apart:
            return apart.submit(made).result()


def frame_of(flow: str) -> bytes:
    """The frame that a head is of, as ovs-appctl(8) takes heads: the kinds that a lock tells apart, whole and with
    their sums."""
    said = dict(word.partition("=")[::2] for word in flow.split(","))
    kind = flow.partition(",")[0]
    if kind == "arp":
        number, inside = 0x0806, _arp(said)
    elif "dl_type" in said:
        number, inside = int(said["dl_type"], 16), bytes(46)
    elif kind.endswith("6"):
        number, inside = 0x86DD, _ipv6(kind, said)
    else:
        number, inside = 0x0800, _ipv4(kind, said)
    tag = struct.pack("!HH", 0x8100, int(said["dl_vlan"])) if "dl_vlan" in said else b""
    return _mac(said["dl_dst"]) + _mac(said["dl_src"]) + tag + struct.pack("!H", number) + inside


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _sum(data: bytes) -> int:
    """RFC 1071."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _arp(said: Mapping[str, str]) -> bytes:
    sender, target = (ip_address(said.get(key, "192.0.2.254")).packed for key in ("arp_spa", "arp_tpa"))
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, int(said["arp_op"]))
    return head + _mac(said["arp_sha"]) + sender + bytes(6) + target


def _ipv4(kind: str, said: Mapping[str, str]) -> bytes:
    sender, target = (ip_address(said.get(key, "192.0.2.254")).packed for key in ("nw_src", "nw_dst"))
    number = {"icmp": 1, "tcp": 6, "udp": 17}[kind]
    inside = _packet(kind, said, sender + target, number)
    fields: tuple[Any, ...] = (0x45, 0, 20 + len(inside), 1, 0, 64, number)
    head = struct.pack("!BBHHHBBH", *fields, 0) + sender + target
    return struct.pack("!BBHHHBBH", *fields, _sum(head)) + head[12:] + inside


def _ipv6(kind: str, said: Mapping[str, str]) -> bytes:
    sender, target = (ip_address(said.get(key, "2001:db8::ffff")).packed for key in ("ipv6_src", "ipv6_dst"))
    number = {"icmp6": 58, "tcp6": 6, "udp6": 17}[kind]
    inside = _packet(kind.removesuffix("6") if kind != "icmp6" else kind, said, sender + target, number)
    return struct.pack("!IHBB", 6 << 28, len(inside), number, 255) + sender + target + inside


def _packet(kind: str, said: Mapping[str, str], ends: bytes, number: int) -> bytes:
    """What is behind the addresses, with its sum at the place where its kind has it."""
    ports = (int(said.get(f"{kind}_src", "1024")), int(said.get(f"{kind}_dst", "1025")))
    if kind == "tcp":
        place, inside = 16, struct.pack("!HHIIBBHHH", *ports, 1, 0, 5 << 4, 2, 1024, 0, 0)
    elif kind == "udp":
        place, inside = 6, struct.pack("!HHHH", *ports, 16, 0) + bytes(8)
    elif kind == "icmp":
        place, ends, inside = 2, b"", struct.pack("!BBHHH", 8, 0, 0, 1, 1) + bytes(8)
    else:
        place, inside = 2, _icmpv6(said)
    over = ends + struct.pack("!IHBB", len(inside), 0, 0, number) if ends else b""
    return inside[:place] + struct.pack("!H", _sum(over + inside)) + inside[place + 2 :]


def _icmpv6(said: Mapping[str, str]) -> bytes:
    """RFC 4861: solicitations and advertisements have a target, and who is reached by which MAC behind it."""
    head = struct.pack("!BBHI", int(said["icmpv6_type"]), int(said["icmpv6_code"]), 0, 0)
    if "nd_target" not in said:
        return head + bytes(40)
    link = struct.pack("!BB", 1, 1) + _mac(said["nd_sll"]) if "nd_sll" in said else b""
    link = struct.pack("!BB", 2, 1) + _mac(said["nd_tll"]) if "nd_tll" in said else link
    return head + ip_address(said["nd_target"]).packed + link
