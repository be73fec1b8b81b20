"""The seed: bytes of a partition, the same for the same files."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from builder.errors import LabError
from builder.images.overlays import SEED_SIZE, seed_bytes
from builder.model.plan import File

FILES = (
    File(path="/root/.ssh/authorized_keys", content="ssh-ed25519 AAAA\n", mode=0o600),
    File(path="/etc/hostname", content="n1\n"),
)


def test_header_and_tar() -> None:
    data = seed_bytes(FILES)
    magic, version, digest, length = data[:512].rstrip(b"\0").split()
    body = data[512 : 512 + int(length)]
    assert (magic, version) == (b"nestlab-seed", b"1")
    assert hashlib.sha256(body).hexdigest() == digest.decode() and len(data) == 512 + int(length)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        found = {entry.name: (entry.mode, entry.uid, entry.isdir()) for entry in archive}
    assert found == {
        "root/.ssh": (0o700, 0, True),
        "root/.ssh/authorized_keys": (0o600, 0, False),
        "etc/hostname": (0o644, 0, False),
    }
    assert data == seed_bytes(FILES)


def test_too_much_for_its_partition() -> None:
    with pytest.raises(LabError, match="more than"):
        seed_bytes((File(path="/big", content="x" * SEED_SIZE),))
