"""A UEFI guest on real firmware (OVMF) under emulation, small enough to start within half a minute: which variables its
firmware takes, what it starts, and what is said of that inside.

The guest is one file: Debian's kernel, a memory root of busybox, mokutil and chattr, and a command line, put together
with systemd's stub as `ukify` does it. So there is one signature to be looked at, by the firmware itself.
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import struct
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder.images.cpio import Archive
from builder.images.kmods import module_bytes
from builder.procedures.secure_boot import ATTRIBUTES, GUIDS
from tests.support.debs import kernel_package, unpacked

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
EMPTY_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
"""No key in it: setup mode."""

RELEASE = "12"
_MOKUTIL = ("mokutil", "libefivar1", "libkeyutils1", "libcrypt1", "libssl3", "libc6")
_CHATTR = ("e2fsprogs", "libext2fs2", "libcom-err2")
_LIBRARIES = re.compile(
    r"(ld-linux-x86-64|libc|libcrypto|libcrypt|libefivar|libkeyutils|libdl|libe2p|libcom_err)\.so\.\d+"
)
_STUB = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
# Where the sections of a unified kernel are, as systemd-stub(7) of version 252 has it.
_SECTIONS = {".osrel": 0x20000, ".cmdline": 0x30000, ".linux": 0x2000000, ".initrd": 0x3000000}
_CMDLINE = "console=ttyS0,115200 quiet loglevel=1 panic=-1 mitigations=off random.trust_cpu=on"
_PATIENCE = 600
# What firmware ends with when it started none of the media; its own shell is started only without Secure Boot.
_NOTHING_BOOTS = ("No bootable option or device was found", "Shell>")

# /run holds what QEMU hands over by fw_cfg: `run`, a script, and files that it names. The kernel keeps these variables
# from being changed by chance: chattr. A variable is written in one piece, its attributes in front.
_INIT = """\
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs dev /dev
insmod /qemu_fw_cfg.ko && insmod /efivarfs.ko
efi=/sys/firmware/efi/efivars
mount -t efivarfs efivarfs $efi
handed=/sys/firmware/qemu_fw_cfg/by_name/opt/nestlab
tell() { echo "nestlab: $*"; }
# set NAME GUID FILE: what the firmware makes of it
set_variable() {
    chattr -i "$efi/$1-$2" 2>/dev/null
    { printf '\\047\\0\\0\\0'; cat "$handed/$3/raw"; } >/tmp/new
    if dd if=/tmp/new of="$efi/$1-$2" bs=1M conv=notrunc 2>/tmp/said
    then tell "set $3 taken"
    else tell "set $3 $(head -n 1 /tmp/said | sed 's/.*: //')"
    fi
}
show() {
    if [ -e "$efi/$1-$2" ]
    then tell "holds $1 $(tail -c +5 "$efi/$1-$2" | base64 | tr -d '\\n')"
    else tell "lacks $1"
    fi
}
state() {
    mokutil --sb-state 2>&1 | sed 's/^/nestlab: mokutil /'
    tell "byte $(tail -c1 $efi/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | xxd -p)"
    dmesg | grep -i 'secure boot\\|secureboot' | sed 's/.*\\] /nestlab: dmesg /'
}
. $handed/run/raw
tell end
poweroff -f
"""


def _run(*words: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run([*map(str, words)], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def certificate(folder: Path, name: str) -> Path:
    """A key and its certificate, by openssl: NAME.key, NAME.pem."""
    _run("openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "30", "-subj",
         f"/CN={name}/", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
    return folder / f"{name}.pem"


_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072").bytes_le
_PKCS7 = uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7").bytes_le
_OWNER = {"PK": "c0acc535-25c8-6446-925b-5dd7d0b2f5aa"}
_ANY_OWNER = "77fa9abd-0359-4d32-bd60-28f4e78f784b"


def create_auth(words: Sequence[str], when: datetime | None = None) -> None:
    """XCP-ng's create-auth, restated from what it writes: `[-c SIGNER -k KEY] NAME OUTPUT CERTIFICATE...`, all PEM.

    A time; the header of a certificate (type 0x0ef1, PKCS#7) with the signature, of no bytes without a signer; then a
    list for each certificate. Signed is the name, the GUID, the attributes and the time before those lists (UEFI
    2.10, 8.2.2). The signature is as openssl writes it, within a ContentInfo.
    """
    rest, signer = list(words), ("", "")
    if rest[0] == "-c":
        assert rest[2] == "-k"
        signer, rest = (rest[1], rest[3]), rest[4:]
    name, output, *pems = rest
    lists = b"".join(_list(name, Path(pem)) for pem in pems)
    Path(output).write_bytes(authenticated(name, lists, signer, when))


def authenticated(name: str, lists: bytes, signer: tuple[str, str], when: datetime | None = None) -> bytes:
    """An .auth file; without lists it takes the variable out."""
    now = when or datetime.now(UTC)
    moment = struct.pack("<HBBBBBBIhBB", *now.timetuple()[:6], 0, 0, 0, 0, 0)
    signature = b""
    if signer[0]:
        guid = uuid.UUID(GUIDS[name]).bytes_le
        text = name.encode("utf-16-le") + guid + struct.pack("<I", int(ATTRIBUTES, 16)) + moment + lists
        signature = _run("openssl", "smime", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER",
                         "-signer", signer[0], "-inkey", signer[1], stdin=text)  # fmt: skip
    return moment + struct.pack("<IHH", 24 + len(signature), 0x0200, 0x0EF1) + _PKCS7 + signature + lists


def _list(name: str, pem: Path) -> bytes:
    der = _run("openssl", "x509", "-in", pem, "-outform", "DER")
    owner = uuid.UUID(_OWNER.get(name, _ANY_OWNER)).bytes_le
    return _X509 + struct.pack("<III", 28 + 16 + len(der), 0, 16 + len(der)) + owner + der


def bare(auth: bytes) -> bytes:
    """The same with its signature out of the ContentInfo, as sign-efi-sig-list and sbvarsign write it."""
    length = struct.unpack_from("<I", auth, 16)[0] - 24
    signature, lists = auth[40:][:length], auth[40 + length :]
    assert signature[4:6] == b"\x06\x09" and signature[15:17] == b"\xa0\x82", "not in a ContentInfo"
    return auth[:16] + struct.pack("<I", 24 + length - 19) + auth[20:40] + signature[19:] + lists


def unified(folder: Path) -> Path:
    """The guest, unsigned."""
    tree = unpacked(RELEASE, [kernel_package(RELEASE)])
    kernel = next(tree.glob("boot/vmlinuz-*"))
    (folder / "initrd").write_bytes(_initrd(tree))
    (folder / "cmdline").write_text(_CMDLINE)
    (folder / "osrel").write_text("ID=nestlab\nNAME=nestlab\nVERSION_ID=1\n")
    made = folder / "guest.efi"
    files = {".osrel": folder / "osrel", ".cmdline": folder / "cmdline", ".linux": kernel, ".initrd": folder / "initrd"}
    added = []
    for section, file in files.items():
        added += ["--add-section", f"{section}={file}", "--change-section-vma", f"{section}={_SECTIONS[section]:#x}"]
    _run("objcopy", *added, unpacked(RELEASE, ["systemd-boot-efi"]) / _STUB, made)
    return made


def _initrd(tree: Path) -> bytes:
    out = io.BytesIO()
    archive = Archive(out)
    for folder in ("proc", "sys", "dev", "tmp"):
        archive.directory(folder)
    archive.file("init", _INIT.encode(), 0o755)
    archive.file("bin/busybox", (unpacked(RELEASE, ["busybox-static"]) / "bin/busybox").read_bytes(), 0o755)
    for name in ("qemu_fw_cfg", "efivarfs"):
        archive.file(f"{name}.ko", module_bytes(next(tree.rglob(f"{name}.ko*"))))
    for packages, program in ((_MOKUTIL, "usr/bin/mokutil"), (_CHATTR, "usr/bin/chattr")):
        root = unpacked(RELEASE, packages)
        archive.file(f"bin/{Path(program).name}", (root / program).read_bytes(), 0o755)
        for path in sorted(root.rglob("*.so.*")):
            if _LIBRARIES.fullmatch(path.name) and "x86_64-linux-gnu" in str(path):
                archive.file(f"lib/{path.name}", path.read_bytes(), 0o755)
    archive.symlink("lib64", "lib")
    archive.close()
    return gzip.compress(out.getvalue(), 6)


def signed(guest: Path, by: Path) -> Path:
    """A copy with a signature of this certificate's key."""
    out = guest.with_name(f"guest-{by.stem}.efi")
    sbsign = unpacked(RELEASE, ["sbsigntool"]) / "usr/bin/sbsign"
    _run(sbsign, "--key", by.with_suffix(".key"), "--cert", by, "--output", out, guest)
    return out


def disk(guest: Path) -> Path:
    """A medium that firmware starts this from."""
    image = guest.with_suffix(".img")
    _run("mkfs.vfat", "-C", image, "65536")
    _run("mmd", "-i", image, "::EFI", "::EFI/BOOT")
    _run("mcopy", "-i", image, guest, "::EFI/BOOT/BOOTX64.EFI")
    return image


@dataclass(frozen=True, slots=True)
class Told:
    """What was on the serial console."""

    console: str

    def of(self, word: str) -> list[str]:
        """What the guest said of this."""
        return [line.strip() for line in re.findall(rf"^nestlab: {word} ?(.*)$", self.console, re.MULTILINE)]

    @property
    def set(self) -> dict[str, str]:
        """Each file that it tried to set a variable to: `taken`, or the kernel's word for the firmware's refusal."""
        return dict(line.split(" ", 1) for line in self.of("set"))

    def holds(self, name: str) -> bytes:
        return base64.b64decode(next(line for line in self.of("holds") if line.startswith(f"{name} ")).split()[1])

    @property
    def refused(self) -> int:
        """How many media the firmware did not start for what was, or was not, signed there."""
        return len(re.findall(r"failed to load Boot\d{4} .* from PciRoot.*: Access Denied", self.console))

    @property
    def started(self) -> bool:
        return bool(self.of("end"))


def start(variables: Path, disks: Sequence[Path], script: str, files: Mapping[str, bytes], folder: Path) -> Told:
    """The firmware tries each of these media in turn. Ends when the guest has done `script`, or nothing started."""
    folder.mkdir()
    handed = {**files, "run": script.encode()}
    for name, data in handed.items():
        (folder / name).write_bytes(data)
    console = folder / "console"
    console.touch()
    words = [
        "qemu-system-x86_64", "-machine", "q35,smm=on", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults",
        "-display", "none", "-no-reboot", "-boot", "strict=on", "-serial", f"file:{console}",
        "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1",
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={CODE}",
        "-drive", f"if=pflash,unit=1,format=raw,file={variables}",
    ]  # fmt: skip
    for number, image in enumerate(disks):
        words += ["-drive", f"if=none,id=disk{number},format=raw,readonly=on,file={image}",
                  "-device", f"virtio-blk-pci,drive=disk{number},bootindex={number}"]  # fmt: skip
    for name in handed:
        words += ["-fw_cfg", f"name=opt/nestlab/{name},file={folder / name}"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=(folder / "said").open("wb")) as machine:
        until = time.monotonic() + _PATIENCE
        try:
            while machine.poll() is None and time.monotonic() < until and not _ended(console):
                time.sleep(0.2)
        finally:
            machine.kill()
    assert time.monotonic() < until, _text(console)
    return Told(_text(console) or (folder / "said").read_text("utf-8"))


def _ended(console: Path) -> bool:
    text = _text(console)
    return any(words in text for words in _NOTHING_BOOTS)


def _text(console: Path) -> str:
    """Without what moves a cursor or colours a line."""
    plain = re.sub(r"\x1b\[[0-9;=?]*[A-Za-z]", "", console.read_bytes().decode("utf-8", "replace"))
    return plain.replace("\r", "")
