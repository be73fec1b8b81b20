"""Something newer in a host's package sources: its own packages, packed again on the host under higher versions.

Nothing is got from anywhere. The repository is a folder of the host and, once offered, all that its apt knows of. What
tells its version by itself (Xen when it starts, a kernel by `uname`) is changed to tell the new one.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from builder.model.host import Host

FOLDER = "/srv/nestlab-newer"
HARMLESS = "less"
"""A package that every host of ours has, and nothing depends on."""

# $1 is the repository, $2 a folder with files that take the place of the packages' own, $3 and $4 a name within names
# of files and packages, and what it becomes; then PACKAGE=VERSION. As dpkg-repack does it, but with links: no copies.
_PACK = r"""
set -e
repository=$1 instead=$2
export from="$3" to="$4"
shift 4
tree=$repository/tree
for word in "$@"; do
  package=${word%%=*}
  export version="${word#*=}" old="$(dpkg-query -W -f '${Version}' "$package")"
  rm -rf "$tree"
  mkdir -p "$tree/DEBIAN"
  # what was left out when it was installed (dpkg's path-exclude), and links of folders that are another package's
  dpkg-query -L "$package" | while read -r path; do
    case $path in /. | /bin | /sbin | /lib | /lib64) continue ;; esac
    [ ! -e "$path" ] && [ ! -L "$path" ] || echo ".$path"
  done >"$repository/list"
  (cd / && cpio -pdlm --quiet "$tree" <"$repository/list")
  if [ -n "$instead" ]; then
    (cd "$instead" && find . -type f) | while read -r path; do
      [ ! -e "$tree/$path" ] || cp --remove-destination "$instead/$path" "$tree/$path"
    done
  fi
  for path in $(dpkg-query --control-path "$package"); do
    case $path in *.md5sums) continue ;; esac
    cp -p "$path" "$tree/DEBIAN/${path##*.}"
  done
  dpkg-query -s "$package" | perl -ne '
    $conffiles = /^Conffiles:/ || $conffiles && /^ /;
    s/^Version: .*/Version: $ENV{version}/; s/\(= \Q$ENV{old}\E\)/(= $ENV{version})/g;
    print unless $conffiles || /^Status:/' >"$tree/DEBIAN/control"
  if [ -n "$from" ]; then
    find "$tree" -depth -name "*$from*" | while read -r path; do
      mv "$path" "${path%/*}/$(basename "$path" | perl -pe 's/\Q$ENV{from}\E/$ENV{to}/g')"
    done
    perl -pi -e 's/\Q$ENV{from}\E/$ENV{to}/g' "$tree"/DEBIAN/*
  fi
  dpkg-deb -Znone -b "$tree" "$repository" >/dev/null
  rm -rf "$tree"
done
"""
# The index of a flat repository, and apt without any other source. Debian's own tool for it would be one more package.
_OFFER = r"""
set -e
cd "$1"
for file in *.deb; do
  dpkg-deb -f "$file"
  echo "Filename: ./$file"
  echo "Size: $(stat -c %s "$file")"
  echo "SHA256: $(sha256sum "$file" | cut -d' ' -f1)"
  echo
done >Packages
echo "deb [trusted=yes] file:$1 ./" >sources.list
printf 'Dir::Etc::sourcelist "%s";\nDir::Etc::sourceparts "-";\n' "$1/sources.list" >/etc/apt/apt.conf.d/99nestlab-newer
apt-get -q update
"""
_XEN = (
    r"""dpkg-query -W -f '${db:Status-Abbrev} ${source:Package} ${Package} ${Version}\n' | sed -n 's/^ii  *xen //p'"""
)


@dataclass(frozen=True, slots=True)
class Packing:
    """Packages and the version that each gets, files of theirs that are others now, and what is called otherwise."""

    versions: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    renamed: tuple[str, str] = ("", "")


def offer(host: Host, packings: Sequence[Packing]) -> None:
    """The host's apt knows these packages and no other. Takes a minute or two on an emulated host."""
    _do(host, 'rm -rf "$1" && mkdir -p "$1"', FOLDER)
    for number, packing in enumerate(packings):
        instead = f"{FOLDER}/instead{number}" if packing.files else ""
        for path, content in packing.files.items():
            _do(host, 'mkdir -p "$(dirname "$1")"', f"{instead}{path}")
            host.write(f"{instead}{path}", content)
        words = [f"{package}={version}" for package, version in packing.versions.items()]
        _do(host, _PACK, FOLDER, instead, *packing.renamed, *words)
    _do(host, _OFFER, FOLDER)


def offer_xen(host: Host, broken: bytes | None = None) -> tuple[str, ...]:
    """Xen as it is installed, one that tells a newer version, and one, newer still, whose file is this. Returns the
    versions, the installed one first."""
    packages = dict(line.split() for line in _do(host, _XEN).splitlines())
    versions = [*set(packages.values())]
    assert len(versions) == 1, packages
    path = hypervisor_file(host)
    versions.append(newer(versions[0]))
    files = [telling(host.read(path), versions[0], versions[1])]
    if broken is not None:
        versions.append(newer(versions[1]))
        files.append(broken)
    offer(host, [Packing(packages), *(
        Packing(dict.fromkeys(packages, version), {path: content})
        for version, content in zip(versions[1:], files, strict=True)
    )])  # fmt: skip
    return tuple(versions)


def offer_updates(host: Host, *, another_name: bool) -> str:
    """A newer kernel, under the name of the one that runs or under the next, and a package that has nothing to do with
    it. Returns what the new one is to say by `uname -rv`."""
    release = _do(host, "uname -r").strip()
    path = f"/boot/vmlinuz-{release}"
    package = f"linux-image-{release}"
    version, harmless = (_do(host, "dpkg-query -W -f '${Version}' \"$1\"", name) for name in (package, HARMLESS))
    changes = {f"Debian {version}": f"Debian {newer(version)}"}
    renamed = (release, newer_release(release)) if another_name else ("", "")
    if another_name:
        changes[release] = renamed[1]
    kernel = kernel_telling(host.read(path), changes)
    versions = dict.fromkeys((package, _meta(release)), newer(version))
    offer(host, [
        Packing(versions, {path: kernel}, renamed),
        Packing({HARMLESS: newer(harmless)}),
    ])  # fmt: skip
    return banner(kernel)


def newer(version: str) -> str:
    """A version of the same length that dpkg takes for newer: the last digit that can be counted up is."""
    found = re.search(r"^(.*)([0-8])([^0-8]*)$", version)
    assert found, f"{version} has no digit to count up"
    return f"{found[1]}{int(found[2]) + 1}{found[3]}"


def newer_release(release: str) -> str:
    """The next kernel's name: 6.1.0-56-amd64 becomes 6.1.0-57-amd64, 6.12.117+deb13-amd64 6.12.118+deb13-amd64."""
    number = re.match(r"[0-9.]+(-[0-9]+)?", release)
    assert number, release
    return newer(number[0]) + release.removeprefix(number[0])


def telling(packed: bytes, old: str, new: str) -> bytes:
    """A hypervisor's file, which tells the new version when it starts: the old one is in it once, as one word."""
    image = gzip.decompress(packed)
    before, after = f"\0{old}\0".encode(), f"\0{new}\0".encode()
    assert len(before) == len(after) and image.count(before) == 1, f"{old} is there {image.count(before)} times"
    return gzip.compress(image.replace(before, after), 6, mtime=0)


def crashing(packed: bytes) -> bytes:
    """A hypervisor's file that GRUB starts and that ends the machine with its first instruction: no such one, twice
    over, while nothing yet looks after faults."""
    image = bytearray(gzip.decompress(packed))
    entry, table = struct.unpack_from("<II", image, 0x18)
    size, number = struct.unpack_from("<HH", image, 0x2A)
    assert image[:5] == b"\x7fELF\x01", "the hypervisor is no 32-bit ELF file"
    for each in range(number):
        kind, offset, _, where, length = struct.unpack_from("<5I", image, table + each * size)
        if kind == 1 and where <= entry < where + length:
            image[offset + entry - where : offset + entry - where + 4] = b"\x0f\x0b" * 2
            return gzip.compress(bytes(image), 6, mtime=0)
    raise AssertionError("no segment holds the place where it starts")


def kernel_telling(image: bytes, changes: Mapping[str, str]) -> bytes:
    """A bzImage in which these words are others, of the same length. Its kernel is packed by gzip now, as Xen can start
    it: Xen goes by the header (Linux' Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
    The program in front of it, which Xen leaves out, would not find it any more."""
    at, length = _payload(image)
    kernel = _unpacked(image[at : at + length])
    head = bytearray(image[:at])
    for old, new in changes.items():
        assert len(old) == len(new) and old.encode() in kernel and old.encode() in head, old
        kernel = kernel.replace(old.encode(), new.encode())
        head = head.replace(old.encode(), new.encode())
    packed = gzip.compress(kernel, 6, mtime=0)
    struct.pack_into("<I", head, 0x24C, len(packed))
    return bytes(head) + packed


def banner(image: bytes) -> str:
    """What a bzImage's kernel says by `uname -rv`."""
    start = struct.unpack_from("<H", image, 0x20E)[0] + 0x200
    said = image[start : image.index(b"\0", start)].decode()
    return re.sub(r" \([^)]*\)", "", said, count=1)


def hypervisor_file(host: Host) -> str:
    return _do(host, "ls /boot/xen-[0-9]*-amd64.gz").strip()


def _payload(image: bytes) -> tuple[int, int]:
    """Where the packed kernel is in a bzImage."""
    assert image[0x202:0x206] == b"HdrS", "no bzImage"
    offset, length = struct.unpack_from("<II", image, 0x248)
    return ((image[0x1F1] or 4) + 1) * 512 + offset, length


def _unpacked(packed: bytes) -> bytes:
    """xz in Debian 12, zstd in 13; the size that stands behind it is no part of it."""
    if packed.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(packed)
    assert packed.startswith(b"\x28\xb5\x2f\xfd"), f"a kernel packed in an unknown way: {packed[:6]!r}"
    zstd = shutil.which("zstd")
    assert zstd, "zstd is missing (package zstd)"
    done = subprocess.run([zstd, "-dcq"], input=packed[:-4], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _meta(release: str) -> str:
    """The package that brings the newest kernel of that kind."""
    return f"linux-image-{release.rpartition('-')[2]}"


def _do(host: Host, script: str, *words: str) -> str:
    done = host.run(["sh", "-c", script, "sh", *words], timeout=1800)
    assert done.ok, f"{script}{words}: {done.stdout}{done.stderr}"
    return done.stdout
