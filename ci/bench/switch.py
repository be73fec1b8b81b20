#!/usr/bin/env python3
"""How fast the user-space switch passes frames, beside the least that could do it: one thread, recv and sendto.

    ci/bench/switch.py [--rounds N] [--frames N]

Each round sends the same frames through both, in turn, from one socket to another. A sender that waits for the
receiver every 32 frames keeps buffers from overflowing, so what is measured is passing, not dropping. Prints the
median MB/s of each and their ratio for small and for large frames.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from builder.drivers.ports import PortTable
from builder.drivers.switch import Switch

WINDOW = 32
A, B = b"\x52\x54\x00\x00\x00\x01", b"\x52\x54\x00\x00\x00\x02"


def endpoint(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", port))
    sock.settimeout(5)
    return sock


def relay(own: int, to: int, stop: threading.Event) -> threading.Thread:
    """The plain relay: no addresses, no VLANs, no counters."""
    sock = endpoint(own)
    sock.settimeout(0.2)

    def run() -> None:
        buffer = bytearray(65536)
        view = memoryview(buffer)
        with sock:
            while not stop.is_set():
                try:
                    size = sock.recv_into(buffer)
                except TimeoutError:
                    continue
                sock.sendto(view[:size], ("127.0.0.1", to))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def drive(sender: socket.socket, receiver: socket.socket, port: int, size: int, frames: int) -> float:
    """Bytes a second from sender to receiver by way of `port`."""
    frame = (B + A + b"\x88\xb5").ljust(size, b"\0")
    buffer = bytearray(65536)
    began = time.perf_counter()
    for _ in range(frames // WINDOW):
        for _ in range(WINDOW):
            sender.sendto(frame, ("127.0.0.1", port))
        for _ in range(WINDOW):
            receiver.recv_into(buffer)
    return frames // WINDOW * WINDOW * size / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=20_000)
    chosen = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {chosen.rounds} rounds of {chosen.frames} frames")
    with PortTable() as table:
        qemu_a, qemu_b, port_a, port_b, relay_port = table.claim(5)
        a, b = endpoint(qemu_a), endpoint(qemu_b)
        switch = Switch()
        switch.networks({"lan": 9216})
        switch.add(port_a, qemu=qemu_a, network="lan")
        switch.add(port_b, qemu=qemu_b, network="lan")
        b.sendto((A + B + b"\x88\xb5").ljust(60, b"\0"), ("127.0.0.1", port_b))
        a.recv(65536)
        stop = threading.Event()
        thread = relay(relay_port, qemu_b, stop)
        try:
            for size in (60, 1514, 9014):
                through: dict[str, list[float]] = {"switch": [], "relay": []}
                for _ in range(chosen.rounds):
                    through["relay"].append(drive(a, b, relay_port, size, chosen.frames))
                    through["switch"].append(drive(a, b, port_a, size, chosen.frames))
                mid = {name: statistics.median(rates) / 1e6 for name, rates in through.items()}
                spread = {name: (min(rates) / 1e6, max(rates) / 1e6) for name, rates in through.items()}
                ratio = mid["switch"] / mid["relay"]
                shown = ", ".join(f"{n} {mid[n]:.1f} MB/s ({spread[n][0]:.1f}-{spread[n][1]:.1f})" for n in through)
                print(f"{size:5} bytes: {shown}, ratio {ratio:.2f}")
        finally:
            stop.set()
            thread.join()
            switch.close()


if __name__ == "__main__":
    main()
