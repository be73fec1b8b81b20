"""Ethernet frames as the switch needs them: 802.1Q tags in and out, and pcap files."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

HEADER = 14
TAG = 4
NATIVE_VLAN = 1
Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class PortRule:
    """What may pass a port. `vlan`: an access port, untagged frames only, of that VLAN. `trunk`: these VLANs tagged,
    and untagged frames as VLAN 1. Neither: a plain port, all VLANs tagged, and untagged frames as VLAN 1."""

    vlan: int | None = None
    trunk: frozenset[int] = frozenset()

    @classmethod
    def of(cls, vlan: int | None, trunk: Sequence[int]) -> PortRule:
        if vlan is not None and trunk:
            raise ValueError("a port is access or trunk, not both")
        return cls(vlan, frozenset(trunk))

    def admits(self, tag: int | None) -> int | None:
        """The VLAN of a frame that comes in with this tag (None: untagged, 0: priority only), None: not let in."""
        if not tag:
            return self.vlan or NATIVE_VLAN
        if self.vlan is not None:
            return None
        return tag if not self.trunk or tag in self.trunk or tag == NATIVE_VLAN else None

    def emits(self, vlan: int) -> bool | None:
        """Whether a frame of that VLAN goes out tagged; None: not at all."""
        if self.vlan is not None:
            return False if vlan == self.vlan else None
        if vlan == NATIVE_VLAN:
            return False
        return True if not self.trunk or vlan in self.trunk else None


def read_tag(frame: Bytes) -> int | None:
    """The VLAN id of the outer 802.1Q tag (0: priority only), None without one."""
    if frame[12] == 0x81 and frame[13] == 0 and len(frame) >= HEADER + TAG:
        return (frame[14] & 0x0F) << 8 | frame[15]
    return None


def push_tag(frame: Bytes, vlan: int) -> bytes:
    """The frame with a tag put in front of its EtherType."""
    return b"".join((frame[:12], struct.pack("!HH", 0x8100, vlan), frame[12:]))


def pop_tag(frame: Bytes) -> bytes:
    """The frame without its outer tag."""
    return b"".join((frame[:12], frame[16:]))


def retag(frame: Bytes, vlan: int, *, tagged: bool) -> Bytes:
    """The frame as it goes out: tagged with `vlan`, or untagged. The frame itself where nothing changes."""
    tag = read_tag(frame)
    if tagged:
        return frame if tag == vlan else push_tag(frame if tag is None else pop_tag(frame), vlan)
    return frame if tag is None else pop_tag(frame)


class Capture:
    """Frames of one network as a pcap file, as they entered the switch, up to `limit` bytes. Frames from an access
    port get their VLAN's tag, so that one capture tells the VLANs apart. `frames` counts those that are in it,
    `missed` those that it had no room for."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.frames = 0
        self.missed = 0
        self._parts: list[bytes] = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
        self._size = len(self._parts[0])
        self._lock = threading.Lock()

    def add(self, frame: Bytes) -> None:
        size = 16 + len(frame)
        with self._lock:
            if self._size + size > self.limit:
                self.missed += 1
                return
            self._size += size
            self.frames += 1
            seconds, micro = divmod(time.time_ns() // 1000, 1_000_000)
            self._parts += (struct.pack("<IIII", seconds, micro, len(frame), len(frame)), bytes(frame))

    def pcap(self) -> bytes:
        """What was captured so far, and not taken yet."""
        with self._lock:
            return b"".join(self._parts)

    def take(self) -> bytes:
        """The same, and makes room for more: all that was taken, one after the other, is the pcap file."""
        with self._lock:
            taken, self._parts, self._size = self._parts, [], 0
        return b"".join(taken)
