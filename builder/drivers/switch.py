"""The layer-2 switch of a lab, in user space: one UDP socket on 127.0.0.1 for each card, one thread for all.

QEMU's cards (`<interface type='udp'>`) send each Ethernet frame as one datagram. Networks are apart from each other;
within one, MAC addresses are learned by VLAN. Every method may be called from any thread while frames flow.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from builder.drivers.frames import HEADER, TAG, Bytes, Capture, PortRule, read_tag, retag
from builder.errors import LabError

AGEING = 300.0
"""Seconds after which an address that was not heard of is forgotten, as 802.1D has it."""
_MAX_ADDRESSES = 8192  # of one network: a flood of made-up addresses must not eat memory
_MAX_DELAYED = 4096  # frames
_BATCH = 64  # frames read from one card before the others have their turn
_BUFFER = 4 << 20
_MAX_FRAME = 1 << 16


@dataclass(frozen=True, slots=True)
class PortState:
    """A port as it is now: whether its cable is out, what is done to its frames (seconds, and a part from 0 to 1), and
    its counters: rx, rx_bytes, tx, tx_bytes, and frames dropped by reason (stranger, runt, giant, vlan, cut, loss,
    full, source, nobody)."""

    cut: bool
    delay: float
    loss: float
    counters: dict[str, int]


@dataclass(slots=True)
class _Network:
    name: str
    mtu: int
    ports: tuple[_Port, ...] = ()  # replaced, never changed: the switching thread may be walking it
    table: dict[tuple[int, bytes], tuple[_Port, float]] = field(default_factory=dict)
    captures: tuple[Capture, ...] = ()


@dataclass(slots=True, eq=False)
class _Port:
    number: int
    peer: tuple[str, int]
    network: _Network
    rule: PortRule
    sock: socket.socket
    cut: bool = False
    delay: float = 0.0
    loss: float = 0.0
    counters: Counter[str] = field(default_factory=Counter)


class Switch:
    """Ports are named by the UDP port of the switch's end (`NicPorts.switch`)."""

    def __init__(self, *, ageing: float = AGEING) -> None:
        self._ageing = ageing
        self._networks: dict[str, _Network] = {}
        self._ports: dict[int, _Port] = {}
        self._lock = threading.Lock()
        self._delayed: list[tuple[float, int, _Port, bytes, int | None]] = []
        self._sequence = 0
        self._closed = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._random = random.Random()  # noqa: S311 - lost frames, no secrets
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)
        self._thread.start()

    def networks(self, mtus: Mapping[str, int]) -> None:
        """Declare networks and their MTU in bytes (to 9216). Those that exist keep their ports."""
        with self._lock:
            for name, mtu in mtus.items():
                if name in self._networks:
                    self._networks[name].mtu = mtu
                else:
                    self._networks[name] = _Network(name, mtu)

    def add(self, port: int, *, qemu: int, network: str, vlan: int | None = None, trunk: Sequence[int] = ()) -> None:
        """Plug in a card: frames come from 127.0.0.1:`qemu` to `port`. Raises LabError when the port is taken or the
        network was not declared."""
        with self._lock:
            if network not in self._networks:
                raise LabError(f"the switch has no network {network}")
            if port in self._ports:
                raise LabError(f"the switch has port {port} already")
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
                sock.bind(("127.0.0.1", port))
            except OSError as error:
                sock.close()
                raise LabError(f"the switch cannot have UDP port {port}: {error.strerror}") from None
            net = self._networks[network]
            new = _Port(port, ("127.0.0.1", qemu), net, PortRule.of(vlan, trunk), sock)
            self._ports[port] = new
            net.ports = (*net.ports, new)
            self._selector.register(sock, selectors.EVENT_READ, new)
        self._wake()

    def remove(self, port: int) -> None:
        """Unplug the card; a port that is not there is fine."""
        with self._lock:
            gone = self._ports.pop(port, None)
            if gone is None:
                return
            gone.network.ports = tuple(p for p in gone.network.ports if p is not gone)
            self._selector.unregister(gone.sock)
            gone.cut = True
            gone.sock.close()
        self._wake()

    def cut(self, port: int, cut: bool = True) -> None:
        """Take the cable out, or put it back. The card keeps its link, as with a switch further away."""
        self._port(port).cut = cut

    def impair(self, port: int, *, delay_ms: float = 0, loss: float = 0) -> None:
        """Hold back each frame that enters or leaves by this port, and lose a part (0 to 1) of them. A round trip is
        late by twice the delay. Without arguments: as new."""
        if not 0 <= loss <= 1 or delay_ms < 0:
            raise LabError("loss is between 0 and 1, delay not negative")
        found = self._port(port)
        found.delay, found.loss = delay_ms / 1000, loss

    def capture(self, network: str, *, limit: int = 64 << 20) -> Capture:
        """Record the network's frames from now on, up to `limit` bytes; `end_capture` ends it."""
        found = self._network(network)
        capture = Capture(limit)
        with self._lock:
            found.captures = (*found.captures, capture)
        return capture

    def end_capture(self, network: str, capture: Capture) -> bytes:
        """The pcap file."""
        found = self._network(network)
        with self._lock:
            found.captures = tuple(c for c in found.captures if c is not capture)
        return capture.pcap()

    def stats(self) -> dict[int, dict[str, int]]:
        """Counters of each port, as in `PortState`."""
        return {number: state.counters for number, state in self.states().items()}

    def states(self) -> dict[int, PortState]:
        """Every port that is plugged in."""
        with self._lock:
            return {n: PortState(p.cut, p.delay, p.loss, dict(p.counters)) for n, p in self._ports.items()}

    def close(self) -> None:
        """Stop and free every port. Twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake()
        self._thread.join(10)
        for port in list(self._ports):
            self.remove(port)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _port(self, number: int) -> _Port:
        try:
            return self._ports[number]
        except KeyError:
            raise LabError(f"the switch has no port {number}") from None

    def _network(self, name: str) -> _Network:
        try:
            return self._networks[name]
        except KeyError:
            raise LabError(f"the switch has no network {name}") from None

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"w")

    def _run(self) -> None:
        buffer = bytearray(_MAX_FRAME)
        view = memoryview(buffer)
        while not self._closed:
            timeout = None if not self._delayed else max(0.0, self._delayed[0][0] - time.monotonic())
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 4096)
                else:
                    self._drain(key.data, buffer, view)
            self._release()

    def _drain(self, port: _Port, buffer: bytearray, view: memoryview) -> None:
        now = time.monotonic()
        receive = port.sock.recvfrom_into
        try:
            for _ in range(_BATCH):
                size, sender = receive(buffer)
                if sender != port.peer:
                    port.counters["stranger"] += 1
                elif port.delay or port.loss:
                    self._impaired(port, bytes(view[:size]), None, now)
                else:
                    self._switch(port, view[:size], now)
        except BlockingIOError:
            return
        except OSError:  # closed by remove(), or an answer that nobody listens at the other end yet
            return

    def _switch(self, port: _Port, frame: Bytes, now: float) -> None:
        """Take in a frame, learn where its sender is, and pass it on."""
        network, counters, size = port.network, port.counters, len(frame)
        if port.cut:
            counters["cut"] += 1
            return
        if size < HEADER:
            counters["runt"] += 1
            return
        if size > network.mtu + HEADER + TAG:
            counters["giant"] += 1
            return
        source = bytes(frame[6:12])
        if source[0] & 1:
            counters["source"] += 1
            return
        vlan = port.rule.admits(read_tag(frame))
        if vlan is None:
            counters["vlan"] += 1
            return
        counters["rx"] += 1
        counters["rx_bytes"] += size
        table = network.table
        if len(table) >= _MAX_ADDRESSES and (vlan, source) not in table:
            table.clear()
        table[(vlan, source)] = (port, now)
        for capture in network.captures:
            capture.add(frame if vlan == 1 else retag(frame, vlan, tagged=True))
        if not frame[0] & 1:
            known = table.get((vlan, bytes(frame[:6])))
            if known is not None and now - known[1] < self._ageing and known[0] in network.ports:
                if known[0] is not port:
                    self._out(known[0], frame, vlan, now)
                return
        for other in network.ports:
            if other is not port:
                self._out(other, frame, vlan, now)

    def _out(self, port: _Port, frame: Bytes, vlan: int, now: float) -> None:
        tagged = port.rule.emits(vlan)
        if tagged is None:
            return
        if port.cut:
            port.counters["cut"] += 1
            return
        frame = retag(frame, vlan, tagged=tagged)
        if port.delay or port.loss:
            self._impaired(port, bytes(frame), vlan, now)
        else:
            self._send(port, frame)

    def _send(self, port: _Port, frame: Bytes) -> None:
        try:
            port.sock.sendto(frame, port.peer)
        except BlockingIOError:
            port.counters["full"] += 1
        except OSError:  # nobody listens yet: a node that is starting
            port.counters["nobody"] += 1
        else:
            port.counters["tx"] += 1
            port.counters["tx_bytes"] += len(frame)

    def _impaired(self, port: _Port, frame: bytes, vlan: int | None, now: float) -> None:
        """Lose or hold back a frame. `vlan` None: it is coming in; else it is going out."""
        if port.loss and self._random.random() < port.loss:
            port.counters["loss"] += 1
            return
        if len(self._delayed) >= _MAX_DELAYED:
            port.counters["full"] += 1
            return
        self._sequence += 1
        heapq.heappush(self._delayed, (now + port.delay, self._sequence, port, frame, vlan))

    def _release(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            _, _, port, frame, vlan = heapq.heappop(self._delayed)
            if vlan is None:
                self._switch(port, frame, now)
            elif not port.cut:
                self._send(port, frame)
