"""Archives for memory roots: what is in them, read by a reader written apart from the writer."""

from __future__ import annotations

import io
import stat

import pytest

from builder.images.cpio import Archive, write_files
from builder.model.plan import File


def entries(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Name -> (mode, content), by the format's own description (cpio(5), "new ASCII")."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, owner, group, size, name_size = fields[1], fields[2], fields[3], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        at = (start + size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        assert (owner, group) == (0, 0)
        found[name] = (mode, data[start : start + size])


def test_parents_are_made_once_and_before_what_they_hold() -> None:
    out = io.BytesIO()
    archive = Archive(out)
    archive.file("/etc/nestlab/network.sh", b"ip link\n", 0o755)
    archive.file("etc/hostname", b"n1\n")
    archive.symlink("sbin", "/bin")
    archive.device("nodes/net/tun", 10, 200)
    archive.close()
    found = entries(out.getvalue())
    before = ["etc", "etc/nestlab", "etc/nestlab/network.sh", "etc/hostname", "sbin"]
    assert list(found) == [*before, "nodes", "nodes/net", "nodes/net/tun"]
    assert found["nodes/net/tun"] == (stat.S_IFCHR | 0o600, b"")
    assert found["etc/nestlab/network.sh"] == (stat.S_IFREG | 0o755, b"ip link\n")
    assert found["sbin"] == (stat.S_IFLNK | 0o777, b"/bin")
    assert stat.S_ISDIR(found["etc"][0])
    assert len(out.getvalue()) % 512 == 0


def test_the_folder_of_ssh_keys_is_private() -> None:
    out = io.BytesIO()
    write_files(out, [File(path="/root/.ssh/authorized_keys", content="ssh-ed25519 AAAA\n", mode=0o600)])
    found = entries(out.getvalue())
    assert found["root/.ssh"][0] == stat.S_IFDIR | 0o700
    assert found["root/.ssh/authorized_keys"] == (stat.S_IFREG | 0o600, b"ssh-ed25519 AAAA\n")


def test_a_path_that_leaves_the_tree_or_comes_twice_is_refused() -> None:
    archive = Archive(io.BytesIO())
    with pytest.raises(ValueError, match="leaves the tree"):
        archive.file("/etc/../../x", b"")
    archive.file("/a", b"")
    with pytest.raises(ValueError, match="twice"):
        archive.file("a", b"")
