"""A medium of the vendor's layout with the real installer, whose initrd holds the components already: under emulation
fetching and unpacking each takes two seconds. They are unpacked by the installer's own udpkg, here instead of there.

What is put into its initrd is an archive behind the untouched one: components, and the key of their suite.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from builder.images.cpio import Archive
from builder.paths import locked
from builder.run import run
from ci.debian_installer.components import cache_folder
from ci.debian_installer.suite import Suite
from tests.support.debian_media import build_debian
from tests.support.installer import initrd

ARGUMENTS = "vga=788 ipv6.disable=1 --- quiet"
"""Of the vendor, and one for user-mode networks: waiting for IPv6 there leads to nothing."""
_KEYRING = "usr/share/keyrings"
_State = dict[str, tuple[int, int, int]]


def medium(release: str, suite: Suite) -> Path:
    """The medium, from the cache when it was made before. Needs root, or user namespaces, for chroot."""
    digest = hashlib.sha256(suite.archive.parent.name.encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    file = cache_folder() / f"medium-{release}-{digest}.iso"
    with locked(file.with_suffix(".lock")):
        if not file.exists():
            with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
                folder = Path(name)
                packed = folder / "initrd.gz"
                shutil.copyfile(suite.installer / "initrd.gz", packed)
                with packed.open("ab") as out:
                    out.write(_components(release, suite, folder / "initrd"))
                (folder / "iso").mkdir()
                build_debian(folder / "iso", release, initrd=packed, arguments=ARGUMENTS).rename(file)
    return file


def _components(release: str, suite: Suite, tree: Path) -> bytes:
    """The archive of what differs once the components are in."""
    initrd(release, tree)
    before = _state(tree)
    (tree / "udebs").mkdir()
    for file in suite.udebs:
        shutil.copy(file, tree / "udebs")
    inside = [*([] if os.geteuid() == 0 else ["unshare", "--map-root-user"]), "chroot", str(tree)]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    names = [f"/udebs/{file.name}" for file in suite.udebs]
    run([*inside, "udpkg", "--unpack", *names], env=environment, timeout=600)
    run([*inside, "depmod", "-a", suite.kernel], env=environment, timeout=600)
    shutil.rmtree(tree / "udebs")
    debian = next(iter(sorted((tree / _KEYRING).glob("debian-archive-keyring.[gp][gp][gp]"))))
    (tree / _KEYRING / "archive.gpg").write_bytes(debian.read_bytes() + suite.key.read_bytes())
    after = _state(tree)
    with tempfile.TemporaryFile() as out:
        archive = Archive(out)
        for path in sorted(path for path in after if after[path] != before.get(path)):
            _add(archive, tree, path)
        archive.close()
        out.seek(0)
        return gzip.compress(out.read(), mtime=0)


def _state(tree: Path) -> _State:
    """Type and mode, size and time of change of everything."""
    found: _State = {}
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = Path(folder) / name
            info = path.lstat()
            # a folder is another one when something is put into it
            about = (0, 0) if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_ctime_ns)
            found[str(path.relative_to(tree))] = (info.st_mode, *about)
    return found


def _add(archive: Archive, tree: Path, path: str) -> None:
    info = (tree / path).lstat()
    if stat.S_ISLNK(info.st_mode):
        archive.symlink(path, str((tree / path).readlink()))
    elif stat.S_ISDIR(info.st_mode):
        archive.directory(path, stat.S_IMODE(info.st_mode))
    elif stat.S_ISREG(info.st_mode):
        archive.file(path, (tree / path).read_bytes(), stat.S_IMODE(info.st_mode))
