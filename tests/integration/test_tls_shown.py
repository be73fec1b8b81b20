"""What a host shows on its port, by openssl's own server and client: the certificate, and the chain with it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.procedures.tls_certificate import _BECOMES, _LEAVES, _UNSHOWN
from tests.integration.test_procedures import pki  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration


@contextlib.contextmanager
def server(folder: Path, *more: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    call = ["openssl", "s_server", "-quiet", "-accept", str(port), "-cert", "host.crt", "-key", "host.key", *more]
    with subprocess.Popen(call, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def said(script: str, port: int, *argv: object) -> str:
    script = script.replace("127.0.0.1:443", f"127.0.0.1:{port}").replace("seq 30", "seq 2")
    call = ["sh", "-c", script, "sh", *map(str, argv)]
    return subprocess.run(call, capture_output=True, text=True, check=True, timeout=60).stdout


def fingerprint(path: Path) -> str:
    call = ["openssl", "x509", "-in", str(path), "-noout", "-fingerprint", "-sha256"]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]


@pytest.mark.parametrize("sent", [[], ["issuer"], ["issuer", "root"]])
def test_certificates_of_a_chain_that_are_not_sent_are_told(pki: Path, sent: list[str]) -> None:  # noqa: F811
    part = pki / "sent.crt"
    part.write_text("".join((pki / f"{name}.crt").read_text() for name in sent))
    with server(pki, *(["-cert_chain", str(part)] if sent else [])) as port:
        missing = [fingerprint(pki / f"{name}.crt") for name in ("issuer", "root") if name not in sent]
        assert said(_UNSHOWN, port, pki / "chain.crt").split() == missing
        assert said(_UNSHOWN, port, pki / "whole.crt").split() == missing
        assert said(_UNSHOWN, port, pki / "gone.crt") == ""


def test_what_is_shown_is_waited_for(pki: Path) -> None:  # noqa: F811
    mine = fingerprint(pki / "host.crt")
    with server(pki) as port:
        assert said(_BECOMES, port, mine).strip() == mine
        for others in (["AA:BB"], [], ["AA:BB", "CC:DD"]):
            assert said(_LEAVES, port, *others).strip() == mine
        start = time.monotonic()
        assert said(_LEAVES, port, "AA:BB", mine).strip() == mine
        assert time.monotonic() - start > 1.9
    assert said(_LEAVES, port, "AA:BB").strip() == said(_BECOMES, port, mine).strip() == ""
