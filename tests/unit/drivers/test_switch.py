"""The switch with real UDP sockets in the place of QEMU's cards."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builder.drivers.frames import push_tag
from builder.drivers.ports import PortTable
from builder.drivers.switch import Switch
from builder.errors import LabError

BROADCAST = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x52\x54\x00\x00\x00" + bytes([number])


class Card:
    """QEMU's end of one card."""

    def __init__(self, number: int, qemu: int, port: int) -> None:
        self.mac = mac(number)
        self.port = port
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind(("127.0.0.1", qemu))

    def send(self, to: bytes, payload: bytes = b"hello", *, vlan: int | None = None) -> bytes:
        """The untagged frame."""
        frame = (to + self.mac + b"\x88\xb5" + payload).ljust(60, b"\0")
        self.sock.sendto(frame if vlan is None else push_tag(frame, vlan), ("127.0.0.1", self.port))
        return frame

    def receive(self, timeout: float = 2) -> bytes | None:
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(65536)
        except TimeoutError:
            return None


@pytest.fixture
def bench() -> Iterator[Callable[..., tuple[Switch, list[Card]]]]:
    with contextlib.ExitStack() as stack:

        def make(*ports: dict[str, Any], mtu: int = 1500, ageing: float = 300) -> tuple[Switch, list[Card]]:
            table = stack.enter_context(PortTable())
            switch = Switch(ageing=ageing)
            stack.callback(switch.close)
            switch.networks({"lan": mtu, "other": 9216})
            cards = []
            for number, port in enumerate(ports, 1):
                qemu, own = table.claim(2)
                switch.add(own, **{"qemu": qemu, "network": "lan", **port})
                cards.append(Card(number, qemu, own))
                stack.callback(cards[-1].sock.close)
            return switch, cards

        yield make


def quiet(*cards: Card) -> bool:
    """Nothing more comes: a broadcast sent later would come later."""
    return all(card.receive(0.1) is None for card in cards)


def counted(switch: Switch, port: int, reason: str, *, atleast: int = 1) -> int:
    """The counter, once the switch has got to it."""
    deadline = time.monotonic() + 2
    while (count := switch.stats()[port].get(reason, 0)) < atleast and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def test_flooded_until_learned_then_to_one_only(bench: Any) -> None:
    switch, (a, b, c) = bench({}, {}, {})
    frame = a.send(b.mac)
    assert b.receive() == frame and c.receive() == frame
    answer = b.send(a.mac)
    assert a.receive() == answer
    assert quiet(c)
    again = a.send(b.mac)
    assert b.receive() == again and quiet(c)
    assert switch.stats()[a.port]["rx"] == 2
    assert switch.stats()[b.port]["tx"] == 2


def test_a_broadcast_reaches_all_but_its_sender_and_no_other_network(bench: Any) -> None:
    _, (a, b, c, d) = bench({}, {}, {}, {"network": "other"})
    frame = a.send(BROADCAST)
    assert b.receive() == frame and c.receive() == frame
    assert quiet(a, d)


def test_an_address_that_moves_is_followed(bench: Any) -> None:
    _, (a, b, c) = bench({}, {}, {})
    b.send(BROADCAST)
    assert a.receive() and c.receive()
    c.mac = b.mac
    c.send(BROADCAST)
    assert a.receive() and b.receive()
    frame = a.send(b.mac)
    assert c.receive() == frame and quiet(b)


def test_an_address_not_heard_of_is_forgotten(bench: Any) -> None:
    _, (a, b, c) = bench({}, {}, {}, ageing=0.2)
    b.send(a.mac)
    assert a.receive() and c.receive()
    a.send(b.mac)
    assert b.receive() and quiet(c)
    time.sleep(0.3)
    a.send(b.mac)
    assert b.receive() and c.receive()


def test_access_ports_of_two_vlans_are_apart(bench: Any) -> None:
    switch, (a, b, c) = bench({"vlan": 10}, {"vlan": 10}, {"vlan": 20})
    frame = a.send(BROADCAST)
    assert b.receive() == frame and quiet(c)
    a.send(BROADCAST, vlan=20)  # hopping by a tag of one's own
    assert quiet(b, c)
    assert counted(switch, a.port, "vlan") == 1


def test_a_trunk_carries_its_vlans_tagged_and_the_native_one_untagged(bench: Any) -> None:
    _, (access, trunk, plain, narrow) = bench({"vlan": 10}, {"trunk": (10, 20)}, {}, {"trunk": (20,)})
    frame = access.send(BROADCAST)
    assert trunk.receive() == push_tag(frame, 10)
    assert plain.receive() == push_tag(frame, 10)
    assert quiet(narrow)
    answer = trunk.send(access.mac, vlan=10)
    assert access.receive() == answer
    untagged = trunk.send(BROADCAST)
    assert plain.receive() == untagged and narrow.receive() == untagged and quiet(access)
    trunk.send(BROADCAST, vlan=30)
    assert quiet(access, plain, narrow)


def test_the_same_address_in_two_vlans_is_two(bench: Any) -> None:
    _, (ten, twenty, trunk) = bench({"vlan": 10}, {"vlan": 20}, {"trunk": (10, 20)})
    twenty.mac = ten.mac
    ten.send(BROADCAST)
    twenty.send(BROADCAST)
    assert trunk.receive() and trunk.receive()
    to_twenty = trunk.send(ten.mac, vlan=20)
    assert twenty.receive() == to_twenty and quiet(ten)


def test_frames_to_the_mtu_and_not_beyond(bench: Any) -> None:
    switch, (a, b) = bench({}, {}, mtu=9216)
    for payload in (9000, 9216):
        frame = a.send(b.mac, b"x" * payload)
        assert b.receive() == frame and len(frame) == payload + 14
    frame = a.send(b.mac, b"x" * 9216, vlan=5)
    assert b.receive() == push_tag(frame, 5)
    a.send(b.mac, b"x" * 9221)
    assert counted(switch, a.port, "giant") == 1 and quiet(b)


def test_what_is_no_frame_is_dropped(bench: Any) -> None:
    switch, (a, b) = bench({}, {})
    a.sock.sendto(b"x" * 13, ("127.0.0.1", a.port))
    a.sock.sendto(b"", ("127.0.0.1", a.port))
    assert counted(switch, a.port, "runt", atleast=2) == 2
    a.mac = BROADCAST
    a.send(b.mac)
    assert counted(switch, a.port, "source") == 1
    assert quiet(b)


def test_a_stranger_is_not_heard(bench: Any) -> None:
    switch, (a, b) = bench({}, {})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(BROADCAST + a.mac + b"\x88\xb5" + b"x" * 46, ("127.0.0.1", a.port))
    assert counted(switch, a.port, "stranger") == 1 and quiet(b)


def test_a_card_that_is_not_there_yet_harms_nobody(bench: Any) -> None:
    _, (a, b, c) = bench({}, {}, {})
    c.sock.close()
    for _ in range(20):
        frame = a.send(BROADCAST)
        assert b.receive() == frame


def test_a_cut_cable_is_cut_both_ways_until_mended(bench: Any) -> None:
    switch, (a, b) = bench({}, {})
    switch.cut(b.port)
    a.send(b.mac)
    assert quiet(b)
    b.send(a.mac)
    assert quiet(a)
    assert counted(switch, b.port, "cut", atleast=2) == 2
    switch.cut(b.port, False)
    frame = a.send(b.mac)
    assert b.receive() == frame


def test_delay_holds_back_and_keeps_the_order(bench: Any) -> None:
    switch, (a, b, c) = bench({}, {}, {})
    switch.impair(b.port, delay_ms=150)
    began = time.monotonic()
    frames = [a.send(BROADCAST, b"%d" % number) for number in range(5)]
    assert c.receive() == frames[0]
    assert time.monotonic() - began < 0.1
    assert [b.receive() for _ in range(5)] == frames
    assert 0.15 <= time.monotonic() - began < 0.5
    began = time.monotonic()
    answer = b.send(a.mac)
    assert a.receive() == answer
    assert 0.15 <= time.monotonic() - began < 0.5
    switch.impair(b.port)
    began = time.monotonic()
    a.send(b.mac)
    assert b.receive() is not None and time.monotonic() - began < 0.1


def test_loss_loses_about_as_many_as_asked_for(bench: Any) -> None:
    switch, (a, b) = bench({}, {})
    switch.impair(b.port, loss=0.3)
    for _ in range(1000):
        a.send(BROADCAST)
    time.sleep(0.2)
    got = 0
    while b.receive(0.05) is not None:
        got += 1
    assert 600 < got < 800
    assert counted(switch, b.port, "loss") == 1000 - got
    with pytest.raises(LabError):
        switch.impair(b.port, loss=1.5)


def test_a_capture_holds_what_passed_with_its_vlan(bench: Any) -> None:
    switch, (a, b, c) = bench({"vlan": 10}, {"trunk": (10,)}, {"network": "other"})
    capture = switch.capture("lan")
    frame = a.send(BROADCAST)
    assert b.receive()
    c.send(BROADCAST)
    counted(switch, c.port, "rx")
    data = switch.end_capture("lan", capture)
    a.send(BROADCAST)
    assert b.receive()
    size = struct.unpack("<IIII", data[24:40])[2]
    assert data[40 : 40 + size] == push_tag(frame, 10)
    assert len(data) == 40 + size == len(capture.pcap())


def test_ports_come_and_go_while_frames_flow(bench: Any) -> None:
    switch, (a, b) = bench({}, {})
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            a.send(BROADCAST)
            time.sleep(0.0005)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        with PortTable() as table:
            for _ in range(50):
                qemu, own = table.claim(2)
                switch.add(own, qemu=qemu, network="lan")
                switch.capture("lan", limit=1000)
                switch.remove(own)
                switch.remove(own)
                table.release()
        assert b.receive() is not None
    finally:
        stop.set()
        talker.join()
    while b.receive(0.05) is not None:
        pass
    frame = a.send(b.mac)
    assert b.receive() == frame  # the thread is alive


def test_a_flood_of_addresses_is_forgotten_before_it_eats_memory(bench: Any) -> None:
    switch, (a, _) = bench({}, {})
    for number in range(20_000):
        sender = b"\x02\0" + struct.pack("!I", number)
        a.sock.sendto(BROADCAST + sender + b"\x88\xb5" + bytes(46), ("127.0.0.1", a.port))
        if number % 200 == 0:
            counted(switch, a.port, "rx", atleast=number)
    counted(switch, a.port, "rx", atleast=19_000)
    assert len(switch._networks["lan"].table) <= 8192


def test_close_frees_the_ports_and_ends_the_thread(bench: Any) -> None:
    switch, (a, _) = bench({}, {})
    switch.close()
    switch.close()
    assert not any(thread.name == "switch" and thread.is_alive() for thread in threading.enumerate())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", a.port))


def test_what_is_not_there_is_named(bench: Any) -> None:
    switch, (a,) = bench({})
    with pytest.raises(LabError, match="no network none"):
        switch.add(29999, qemu=29998, network="none")
    with pytest.raises(LabError, match="no network none"):
        switch.capture("none")
    with pytest.raises(LabError, match="no port 1"):
        switch.cut(1)
    with pytest.raises(LabError, match=f"port {a.port} already"):
        switch.add(a.port, qemu=29998, network="lan")
