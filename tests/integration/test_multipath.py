"""The settings for LIO as multipath-tools of both releases read them: with no complaint, and to what is meant."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from builder.procedures.multipath import _READER, JUDGE, PATH, SETTINGS, VENDOR
from tests.support.debs import unpacked

pytestmark = pytest.mark.integration

PACKAGES = {
    "12": (
        "multipath-tools",
        "libaio1",
        "liburcu8",
        "libdevmapper1.02.1",
        "libreadline8",
        "libedit2",
        "libgcrypt20",
        "libgpg-error0",
        "liblz4-1",
        "liblzma5",
        "libzstd1",
    ),
    "13": (
        "multipath-tools",
        "libaio1t64",
        "liburcu8t64",
        "libdevmapper1.02.1",
        "libreadline8t64",
        "libedit2",
        "libmount1",
    ),
}
BESIDE = ("libc6", "libudev1", "libsystemd0", "libjson-c5", "libselinux1", "libcap2", "libtinfo6", "libpcre2-8-0",
          "libgcc-s1", "libblkid1", "libbsd0", "libmd0")  # fmt: skip
# As it was written for XenServer 6.1, with the braces that its page had lost.
OLD = """\
devices {
\tdevice {
\t\tvendor "LIO-ORG"
\t\tproduct "*"
\t\tgetuid_callout "/sbin/scsi_id -g -u -s /block/%n"
\t\tprio_callout "/sbin/mpath_prio_alua /dev/%n"
\t}
}
"""
# A mount namespace with an /etc of its own, and the release's own C library beside its programs.
_RUN = """\
set -e
mount --make-rprivate /
mount --bind "$1" /etc
shift
exec "$@"
"""


@pytest.fixture(params=["12", "13"])
def multipath(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder that is /etc, and how the release's multipath is run with it."""
    release = request.param
    packages = (*PACKAGES[release], *BESIDE)
    tree = unpacked(release, packages)
    etc = tmp_path / "etc"
    (etc / PATH.removeprefix("/etc/")).parent.mkdir(parents=True)
    libraries = [f"{tree}{folder}/x86_64-linux-gnu" for folder in ("/lib", "/usr/lib")]
    libraries += [f"{tree}/lib", f"{tree}/usr/lib", f"{tree}/lib/multipath", f"{tree}/usr/lib/multipath"]
    # The link to it in /lib64 is an absolute one: to the loader of this machine.
    loader = next(path for path in tree.rglob("ld-linux-x86-64.so.2") if path.is_file() and not path.is_symlink())
    program = next(path for path in tree.rglob("sbin/multipath") if path.is_file())
    return etc, ["unshare", "--mount", "sh", "-c", _RUN, "sh", str(etc), str(loader), "--library-path",
                 ":".join(libraries), str(program), "-t"]  # fmt: skip


def read(multipath: tuple[Path, list[str]], settings: str, folder: Path) -> tuple[str, int, str]:
    """What it makes of the settings, and what the procedure's own judge says of that."""
    etc, words = multipath
    (etc / PATH.removeprefix("/etc/")).write_text(settings)
    shown = subprocess.run(words, capture_output=True, text=True, check=False)
    assert shown.stdout, shown.stderr
    script = folder / "multipath"
    script.write_text('#!/bin/sh\ncat "${0%/*}/said" >&2\n')
    script.chmod(0o755)
    (folder / "said").write_text(shown.stderr)
    judged = subprocess.run(["sh", "-c", JUDGE], capture_output=True, text=True, check=False,
                            env={"PATH": f"{folder}:/usr/bin:/bin"})  # fmt: skip
    return shown.stdout, judged.returncode, judged.stderr


def test_the_settings_are_taken_as_they_are_meant(multipath: tuple[Path, list[str]], tmp_path: Path) -> None:
    shown, status, said = read(multipath, SETTINGS, tmp_path)
    assert (status, said) == (0, "")
    ours = re.findall(r'device \{\s*vendor "LIO-ORG"\s*product "\.\*".*?\n\t\}', shown, re.DOTALL)
    assert len(ours) == 1
    wanted = [line.strip().replace('"', "") for line in SETTINGS.partition("device {")[2].splitlines()]
    read_back = [line.strip().replace('"', "") for line in ours[0].splitlines()]
    assert [line for line in wanted if line not in ("", "}") and line not in read_back] == []
    assert re.search(r'find_multipaths "?(yes|on)"?', shown)


def test_what_older_documents_say_is_complained_of(multipath: tuple[Path, list[str]], tmp_path: Path) -> None:
    _, status, said = read(multipath, OLD, tmp_path)
    assert status == 1 and "prio_callout" in said
    _, status, _ = read(multipath, SETTINGS.replace("devices {\n", "devices { device {\n"), tmp_path)
    assert status == 1


def test_what_older_documents_say_in_a_file_of_others_is_theirs(
    multipath: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """It is told, and no reason to stop half-way; nor do maps of other makes lose the names that their owner gave."""
    owners = OLD.replace("devices {", "defaults {\n\tuser_friendly_names yes\n}\ndevices {")
    (multipath[0] / "multipath.conf").write_text(owners.replace(VENDOR, "NETAPP"))
    shown, status, said = read(multipath, SETTINGS, tmp_path)
    assert "prio_callout" in (tmp_path / "said").read_text() and (status, said) == (0, "")
    names = re.findall(r'user_friendly_names "?(yes|no)"?', shown.partition("\n}\n")[0])
    assert names == ["yes"], "the defaults"
    ours = re.search(r'vendor "LIO-ORG"\s*product "\.\*".*?\n\t\}', shown, re.DOTALL)
    assert ours and 'user_friendly_names "no"' in ours[0]


def test_readers_end_by_themselves(tmp_path: Path) -> None:
    """What an earlier one has counted is gone, and an hour later so are they: here the clock runs fast."""
    (tmp_path / "mark.errors").write_text("w9\n")
    (tmp_path / "date").write_text('#!/bin/sh\necho 2400 >>"${0%/*}/ticks"; wc -l <"${0%/*}/ticks" | sed s/$/000/\n')
    (tmp_path / "date").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", _READER, "sh", str(tmp_path / "mark"), "nestlab-none"], env=env, check=True)
    for _ in range(50):
        time.sleep(0.1)
        if len((tmp_path / "ticks").read_text().splitlines()) >= 5:
            break
    time.sleep(0.3)
    assert (tmp_path / "mark.errors").read_text() == "nestlab-none\n" * 3
