"""Certificates for Secure Boot with real programs: openssl makes and reads them, efitools makes .auth files of them."""

from __future__ import annotations

import base64
import io
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Run
from builder.procedures.options import parse_options
from builder.procedures.secure_boot import _HOLDS, GUIDS
from builder.procedures.secure_boot_certs import FOLDER, _held, judge
from tests.support.debs import unpacked
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration

GUID = "77fa9abd-0359-4d32-bd60-28f4e78f784b"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates as PEM and DER, one out of its time, a file that is none, and an .auth file of both."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        run("openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}/", "-days", "30",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")  # fmt: skip
        run("openssl", "x509", "-in", folder / f"{name}.pem", "-outform", "DER", "-out", folder / f"{name}.der")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=past\n[past]\nnew_certs_dir={folder}\ndatabase={folder}/index.txt\nserial={folder}/serial\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    (folder / "index.txt").touch()
    (folder / "serial").write_text("08\n")
    run("openssl", "req", "-new", "-key", folder / "one.key", "-subj", "/CN=late/", "-out", folder / "late.csr")
    run("openssl", "ca", "-batch", "-notext", "-config", folder / "ca.cnf", "-cert", folder / "one.pem", "-keyfile",
        folder / "one.key", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-in", folder / "late.csr",
        "-out", folder / "late.pem")  # fmt: skip
    (folder / "text.pem").write_text("-----BEGIN nothing\n")
    for name in ("one", "two"):
        efi("cert-to-efi-sig-list", "-g", GUID, folder / f"{name}.pem", folder / f"{name}.esl")
    (folder / "both.esl").write_bytes((folder / "one.esl").read_bytes() + (folder / "two.esl").read_bytes())
    efi("sign-efi-sig-list", "-g", GUID, "-k", folder / "one.key", "-c", folder / "one.pem", "db", folder / "both.esl",
        folder / "both.auth")  # fmt: skip
    return folder


def run(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def efi(program: str, *words: str | Path) -> str:
    return run(unpacked("12", ("efitools",)) / "usr/bin" / program, *words)


def test_files_are_told_apart_by_what_is_in_them(keys: Path) -> None:
    names = ("one.pem", "one.der", "late.pem", "both.auth", "both.esl", "text.pem", "one.key", "none.pem")
    found = judge(LocalHost(), [str(keys / name) for name in names])
    kinds = {name: (found[str(keys / name)].kind, found[str(keys / name)].time) for name in names}
    assert kinds == {
        "one.pem": ("pem", "valid"), "one.der": ("der", "valid"), "late.pem": ("pem", "expired"),
        "both.auth": ("auth", "-"), "both.esl": ("other", "-"), "text.pem": ("other", "-"), "one.key": ("other", "-"),
        "none.pem": ("absent", "-"),
    }  # fmt: skip
    assert found[str(keys / "one.der")].subject == "CN=one"


def test_a_variable_is_compared_with_what_is_behind_the_signature(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """varstore-get is made up, and gives what a file holds: it needs XAPI. sign-efi-sig-list made the .auth file."""
    tool = tmp_path / "varstore-get"
    tool.write_text(f'#!/bin/sh\n[ "$2 $3" = "{GUIDS["db"]} db" ] && cat "{keys}/$1"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    auth = str(keys / "both.auth")
    held = {name: LocalHost().run(["sh", "-c", _HOLDS, "sh", name, GUIDS["db"], "db", auth]).ok
            for name in ("both.esl", "one.esl", "both.auth", "none")}  # fmt: skip
    assert held == {"both.esl": True, "one.esl": False, "both.auth": False, "none": False}


def test_der_becomes_the_same_certificate_as_pem_and_a_bundle_holds_every_certificate(
    keys: Path, tmp_path: Path
) -> None:
    """The commands as they are planned, in a folder of this test; create-auth is efitools' two programs here."""
    procedure = load_procedure("secure-boot-certs")
    asked = parse_options(procedure, {"db": f"{keys}/one.pem,{keys}/two.der", "signer": f"{keys}/one.pem",
                                      "signer_key": f"{keys}/one.key"})  # fmt: skip
    way = procedure.ways["xe"]
    files = judge(LocalHost(), [f"{keys}/one.pem", f"{keys}/two.der"])
    state = way.sample.model_copy(update={"files": files, "own": {"db": (f"{FOLDER}/db-1.auth", "")}})
    calls = [shlex.split(str(each).replace(FOLDER, str(tmp_path))) for each in way.actions(state, asked)
             if isinstance(each, Run)]  # fmt: skip
    convert = next(words for words in calls if words[0] == "openssl")
    run(*convert)
    assert run("openssl", "x509", "-in", convert[-1], "-noout", "-fingerprint") == run(
        "openssl", "x509", "-in", keys / "two.pem", "-noout", "-fingerprint"
    )
    create = next(words for words in calls if words[0].endswith("create-auth"))
    _, _, signer, _, key, name, auth, *pems = create
    assert (name, pems) == ("db", [f"{keys}/one.pem", convert[-1]])
    lists = b""
    for number, pem in enumerate(pems):
        efi("cert-to-efi-sig-list", "-g", GUID, pem, tmp_path / f"{number}.esl")
        lists += (tmp_path / f"{number}.esl").read_bytes()
    (tmp_path / "all.esl").write_bytes(lists)
    efi("sign-efi-sig-list", "-g", GUID, "-k", key, "-c", signer, name, tmp_path / "all.esl", auth)
    assert judge(LocalHost(), [auth])[auth].kind == "auth"
    efi("sig-list-to-certs", tmp_path / "all.esl", tmp_path / "out")
    subjects = [run("openssl", "x509", "-inform", "DER", "-in", tmp_path / f"out-{n}.der", "-noout", "-subject")
                for n in range(2)]  # fmt: skip
    assert [subject.rpartition("=")[2].strip() for subject in subjects] == ["one", "two"]


def test_the_pools_field_is_a_packed_folder_of_variables(keys: Path) -> None:
    packed = io.BytesIO()
    auth = (keys / "both.auth").read_bytes()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("PK.auth", "db.auth"):
            info = tarfile.TarInfo(name)
            info.size = len(auth)
            tar.addfile(info, io.BytesIO(auth))
    digest = run("sha256sum", keys / "both.auth").split()[0]
    assert _held(LocalHost(), base64.b64encode(packed.getvalue()).decode()) == {"PK": digest, "db": digest}
    assert _held(LocalHost(), "\n") == {} and _held(LocalHost(), "garbage") == {}
