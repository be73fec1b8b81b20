"""Procedures against real programs: the releases' own grub-mkconfig reads drop-ins, openssl judges certificates."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Write
from builder.procedures.boot import BootWay, Grub, drop_in
from builder.procedures.grubcfg import default_of, entry_of, hypervisor_of
from builder.procedures.guest_disks_wait import unit_name, wanted
from builder.procedures.log_rotation import provoked
from builder.procedures.options import parse_options
from builder.procedures.tls_certificate import Asked, judge, judge_refusals
from builder.procedures.xen_upgrade import ENTRY, FILE
from builder.systems import load_system
from tests.support.grub import KERNEL, command, default_entry, grub_complains, grub_mkconfig, host_tree
from tests.support.local_host import LocalHost
from tests.support.nodes import debian_node, xen
from tests.support.repo import some

pytestmark = pytest.mark.integration

# Every procedure that sets boot arguments, and the words that have to reach Xen and the kernel.
CASES: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    "dom0-memory": ({"size": "2GiB"}, ["dom0_mem=2048M,max:2048M"], []),
    "dom0-vcpus": ({"count": "1", "pin": "false"}, ["dom0_max_vcpus=1"], []),
    "debug-mode": ({"loglvl": "debug"}, ["loglvl=debug", "guest_loglvl=all", "noreboot"], []),
    "nic-quirk": ({}, [], ["pcie_aspm=off"]),
    "serial-console": ({}, ["com1=115200,8n1", "console=com1,vga"], ["console=tty0", "console=hvc0"]),
    "pci-hide": ({"devices": "03:00.0,04:00.1"}, [], ["xen-pciback.hide=(0000:03:00.0)(0000:04:00.1)"]),
}
VERSION = {"12": "4.17", "13": "4.20"}


def way_of(name: str) -> BootWay[Any]:
    way = load_procedure(name).ways["xl"]
    assert isinstance(way, BootWay)
    return way


def entry_words(tree: Path, release: str) -> tuple[list[str], list[str]]:
    """Arguments of the hypervisor and of the kernel on the default entry."""
    written = grub_mkconfig(tree)
    assert grub_complains(written.config) == ""
    entry = default_entry(written.config)
    hypervisor = command(entry, "multiboot2", f"/boot/xen-{VERSION[release]}-amd64.gz")
    return hypervisor, command(entry, "module2", f"/boot/vmlinuz-{KERNEL}")


@pytest.mark.parametrize("release", ["12", "13"])
@pytest.mark.parametrize("stock", [False, True], ids=["nestlab-host", "stock-host"])
def test_grub_puts_every_drop_in_on_the_default_entry_and_its_removal_takes_it_off(
    tmp_path: Path, release: str, stock: bool
) -> None:
    """All at once, as any may be there with any other, on a host of nestlab's and on one installed by hand."""
    recipe = load_system("debian").plan(debian_node(release=release, xen=xen(loglvl="all", dom0_vcpus_pin=True))).recipe
    assert recipe is not None
    files = [] if stock else list(recipe.files)
    tree = host_tree(tmp_path / "tree", release, files)
    before = entry_words(tree, release)
    folder = tree / "etc/default/grub.d"
    wanted_xen, wanted_kernel, keys = [], [], set()
    for name, (options, xen_words, kernel_words) in CASES.items():
        way = way_of(name)
        settings = way.settings(parse_options(load_procedure(name), options))
        path = Grub.path(way.file_name(parse_options(load_procedure(name), options)))
        (tree / path.lstrip("/")).write_text(drop_in(name, settings))
        keys |= {*settings.xen_keys, *settings.kernel_keys}
        wanted_xen += xen_words
        wanted_kernel += kernel_words

    hypervisor, kernel = entry_words(tree, release)
    assert sorted(w for w in hypervisor if w.partition("=")[0] in keys) == sorted(wanted_xen)
    assert sorted(w for w in kernel if w.partition("=")[0] in keys) == sorted(wanted_kernel)
    for now, then in ((hypervisor, before[0]), (kernel, before[1])):
        rest = [word for word in then if word.partition("=")[0] not in keys]
        assert [word for word in now if word.partition("=")[0] not in keys] == rest
    for file in some(sorted(folder.glob("zz-nestlab-*"))):
        file.unlink()
    assert entry_words(tree, release) == before


@pytest.mark.parametrize("release", ["12", "13"])
@pytest.mark.parametrize("stock", [False, True], ids=["nestlab-host", "stock-host"])
def test_the_xen_before_its_upgrade_is_an_entry_as_it_was_and_may_be_the_default(
    tmp_path: Path, release: str, stock: bool
) -> None:
    """The release's own grub-mkconfig takes the script, and the drop-in makes its entry the default."""
    recipe = load_system("debian").plan(debian_node(release=release, xen=xen(loglvl="all"))).recipe
    assert recipe is not None
    tree = host_tree(tmp_path / "tree", release, [] if stock else list(recipe.files))
    before = grub_mkconfig(tree).config
    entry = entry_of(before, default_of(before))
    assert hypervisor_of(entry) == f"xen-{VERSION[release]}-amd64.gz"
    way = load_procedure("xen-upgrade").ways["xl"]
    state = way.sample.model_copy(update={"entry": entry, "default": default_of(before)})
    actions = way.actions(state, parse_options(load_procedure("xen-upgrade"), {}))
    script, guard = (action for action in actions if isinstance(action, Write))
    for file in (script, guard):
        path = tree / file.path.lstrip("/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(file.content)
        path.chmod(file.mode or 0o644)  # without one: a new file's
    guarded = grub_mkconfig(tree).config
    assert grub_complains(guarded) == ""
    kept = entry_of(guarded, default_of(guarded))
    assert default_of(guarded) == ENTRY
    old, new = (text.replace("\t", " ").splitlines()[1:] for text in (entry, kept))
    assert [line for line in new if line not in old] == [
        line.replace(f"xen-{VERSION[release]}-amd64.gz", FILE) for line in old if "multiboot2" in line
    ]
    assert len(old) == len(new)
    (tree / guard.path.lstrip("/")).unlink()
    after = grub_mkconfig(tree).config
    assert default_of(after) == default_of(before) and after.startswith(before.rstrip()[:2000])


def test_a_drop_in_is_fine_with_shellcheck(tmp_path: Path) -> None:
    for name, (options, *_) in CASES.items():
        path = tmp_path / f"{name}.sh"
        path.write_text(
            "#!/bin/sh\n" + drop_in(name, way_of(name).settings(parse_options(load_procedure(name), options)))
        )
        # SC2034: GRUB reads the variables
        done = subprocess.run(["shellcheck", "-e", "SC2034", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_wait_for_a_guests_disks_is_one_that_systemd_and_the_shell_take(tmp_path: Path) -> None:
    wait = wanted("web.1", 60, ["/dev/vg/web", '/srv/my %d$x "q" \\b.img'])
    unit, script = tmp_path / unit_name("web.1"), tmp_path / "wait.sh"
    unit.write_text(wait.unit or "")
    script.write_text(wait.script or "")
    for judge_of_it in (["systemd-analyze", "verify", str(unit)], ["shellcheck", str(script)]):
        done = subprocess.run(judge_of_it, capture_output=True, text=True, check=False)
        assert unit.name not in done.stderr and (done.returncode, done.stdout) == (0, ""), done


@pytest.mark.parametrize(("rule", "files"), [
    ("daily\nmaxsize 2M\nrotate 31\ncompress\ndelaycompress\ncopytruncate", "large.log.1 small.log"),
    ("    daily\n    rotate 31", "large.log?* small.log"),
])  # fmt: skip
def test_logrotate_is_provoked_by_logs_made_for_it(rule: str, files: str) -> None:
    """A rule without a size lets a large log be: the check sees the difference."""
    evidence = provoked(LocalHost(), 2 << 20, rule=rule)
    assert evidence[0].seen == files
    assert all(each.ok for each in evidence) == ("maxsize" in rule)


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, an authority below it, and certificates of a host made by that authority, good ones and others."""
    folder = tmp_path_factory.mktemp("pki")
    ext = folder / "ca.ext"
    ext.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
    for name, bits in (("root", "2048"), ("issuer", "2048"), ("host", "2048"), ("small", "1024"), ("other", "2048")):
        openssl("genrsa", "-out", folder / f"{name}.key", bits)
        _request(folder, name)
        openssl(
            "req",
            "-new",
            "-key",
            folder / f"{name}.key",
            "-subj",
            f"/CN={name}.example/",
            "-out",
            folder / f"{name}.csr",
        )
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "curve.key")
    _request(folder, "curve")
    openssl("x509", "-req", "-in", folder / "root.csr", "-signkey", folder / "root.key", "-days", "30", "-extfile", ext,
            "-out", folder / "root.crt")  # fmt: skip
    _sign(folder, "issuer", "root", "-extfile", str(ext))
    for name in ("host", "small", "curve"):
        _sign(folder, name, "issuer")
    _sign(folder, "host", "issuer", "-sha1", out="sha1")
    _sign_for_the_past(folder, "host", "issuer")
    _sign_for_the_past(folder, "issuer", "root", out="late", extensions=ext)
    _sign_for_the_past(folder, "root", "root", out="late-root", extensions=ext)
    for chain, parts in CHAINS.items():
        (folder / f"{chain}.crt").write_text("".join((folder / f"{part}.crt").read_text() for part in parts))
    (folder / "text.crt").write_text("no certificate\n")
    (folder / "broken.crt").write_text(BROKEN + (folder / "issuer.crt").read_text())
    return folder


BROKEN = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
CHAINS = {
    "chain": ["issuer", "root"],
    "late-chain": ["late", "root"],
    "late-above": ["issuer", "late-root"],
    "late-first": ["late-root", "issuer"],
    "late-both": ["late", "late-root"],
    "turned": ["root", "issuer"],
    "whole": ["host", "issuer", "root"],
    "gap": ["root", "issuer", "small"],
}


def _request(folder: Path, name: str) -> None:
    openssl("req", "-new", "-key", folder / f"{name}.key", "-subj", f"/CN={name}.example/",
            "-out", folder / f"{name}.csr")  # fmt: skip


def _sign(folder: Path, name: str, by: str, *more: str, out: str | None = None) -> None:
    openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{by}.crt", "-CAkey", folder / f"{by}.key",
            "-set_serial", "7", "-days", "10", *more, "-out", folder / f"{out or name}.crt")  # fmt: skip


def _sign_for_the_past(folder: Path, name: str, by: str, *, out: str = "old", extensions: Path | None = None) -> None:
    """`openssl x509` learned of dates in 3.4 only."""
    (folder / "index.txt").touch()
    (folder / "serial").write_text({"old": "08\n", "late": "09\n", "late-root": "0A\n"}[out])
    config = folder / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=past\n[past]\nnew_certs_dir={folder}\ndatabase={folder}/index.txt\nserial={folder}/serial\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    openssl("ca", "-batch", "-notext", "-config", config,
            "-cert", folder / f"{by}.crt", "-keyfile", folder / f"{by}.key",
            "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-in", folder / f"{name}.csr",
            "-out", folder / f"{out}.crt", *(("-extfile", extensions) if extensions else ()))  # fmt: skip


@pytest.mark.parametrize(
    ("certificate", "key", "chain", "codes"),
    [
        ("host", "host", "chain", []),
        ("host", "host", "", []),
        ("host", "other", "", ["not-its-key"]),
        ("host", "host", "root", ["chain"]),
        ("host", "host", "late-chain", ["chain"]),
        ("host", "host", "late-above", ["chain"]),
        ("host", "host", "late-first", ["chain"]),
        ("host", "host", "gap", ["chain"]),
        ("host", "host", "broken", ["chain"]),
        ("host", "host", "text", ["chain"]),
        ("host", "host", "missing", ["chain"]),
        ("host", "host", "turned", []),
        ("host", "host", "whole", []),
        ("host", "missing", "", ["not-its-key"]),
        ("small", "small", "", ["key-size"]),
        ("curve", "curve", "", ["key-size"]),
        ("sha1", "host", "", ["signature"]),
        ("old", "host", "", ["expired"]),
        ("old", "other", "root", ["not-its-key", "expired", "chain"]),
        ("text", "host", "", ["no-certificate"]),
        ("missing", "host", "", ["no-certificate"]),
    ],
)
def test_openssl_and_the_rules_of_xapi_judge_a_certificate(
    pki: Path, certificate: str, key: str, chain: str, codes: list[str]
) -> None:
    asked = Asked(
        certificate=str(pki / f"{certificate}.crt"), key=str(pki / f"{key}.key"),
        chain=str(pki / f"{chain}.crt") if chain else "",
    )  # fmt: skip
    assert [refusal.code for refusal in judge_refusals(judge(LocalHost(), asked), asked)] == codes


@pytest.mark.parametrize(
    ("chain", "told"),
    [
        ("late-chain", "CN=issuer.example is out of its time"),
        ("late-above", "CN=root.example is out of its time"),
        ("late-first", "CN=root.example is out of its time"),
        ("late-both", "CN=issuer.example; CN=root.example is out of its time"),
        ("root", "CN=root.example signs neither {certificate} nor an issuer of it"),
        ("gap", "CN=small.example signs neither {certificate} nor an issuer of it"),
        ("broken", "what openssl cannot read is out of its time, and what openssl cannot read signs neither"),
        ("text", "there is no certificate in it"),
    ],
)
def test_the_certificate_of_a_chain_that_is_wrong_is_named(pki: Path, chain: str, told: str) -> None:
    asked = Asked(certificate=str(pki / "host.crt"), key=str(pki / "host.key"), chain=str(pki / f"{chain}.crt"))
    (refusal,) = judge_refusals(judge(LocalHost(), asked), asked)
    begin = f"{asked.chain} does not lead to {asked.certificate}: "
    assert refusal.message.startswith(begin + told.format(certificate=asked.certificate))


def test_the_fingerprint_is_that_of_the_certificate(pki: Path) -> None:
    judged = judge(LocalHost(), Asked(certificate=str(pki / "host.crt"), key=str(pki / "host.key")))
    shown = subprocess.run(["openssl", "x509", "-in", pki / "host.crt", "-noout", "-fingerprint", "-sha256"],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert judged["fingerprint"] in shown and len(judged["fingerprint"]) == 95
