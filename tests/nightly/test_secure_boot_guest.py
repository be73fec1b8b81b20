"""Variables for Secure Boot, as our procedures have them made, on real firmware: what it takes, what it starts with
them, and what the guest says inside.

The firmware is OVMF with its own check of signatures; on XCP-ng that check is the toolstack's daemon's (varstored,
uefistored), taken from the same sources. create-auth is restated (tests/support/secure_boot_guest.py).
"""

from __future__ import annotations

import shlex
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Run
from builder.procedures.options import parse_options
from builder.procedures.secure_boot import _HOLDS, _KEEP, GUIDS
from builder.procedures.secure_boot_certs import FOLDER, judge
from tests.support.local_host import LocalHost
from tests.support.secure_boot_guest import (
    EMPTY_VARS,
    Told,
    authenticated,
    bare,
    certificate,
    create_auth,
    disk,
    signed,
    start,
    unified,
)

pytestmark = pytest.mark.e2e

LATE_ENOUGH = (2023, 2)
"""edk2 from this release on looks into a ContentInfo for the digest's name; before, it takes a bare signature only."""


@dataclass(frozen=True, slots=True)
class Bench:
    """`media` are disks with the same guest: unsigned, or signed by a certificate of this name."""

    folder: Path
    media: Mapping[str, Path]

    def pem(self, name: str) -> str:
        return str(self.folder / f"{name}.pem")

    def signer(self, name: str) -> tuple[str, str]:
        return self.pem(name), str(self.folder / f"{name}.key")

    def made(self, by: str, **options: str) -> dict[str, bytes]:
        """What secure-boot-certs makes of these certificates, each variable's file, signed by this one."""
        procedure = load_procedure("secure-boot-certs")
        pem, key = self.signer(by)
        asked = parse_options(procedure, {**options, "signer": pem, "signer_key": key})
        files = judge(LocalHost(), [pem, *(path for paths in options.values() for path in paths.split(","))])
        own = {name: (f"{FOLDER}/{name}.auth", "") for name in options}
        way = procedure.ways["xe"]
        state = way.sample.model_copy(update={"files": files, "own": own})
        assert way.refusals(state, asked) == ()
        for action in way.actions(state, asked):
            words = shlex.split(str(action).replace(FOLDER, str(self.folder))) if isinstance(action, Run) else []
            if words[0] == "openssl":
                subprocess.run(words, check=True)
            elif words[0].endswith("create-auth"):
                create_auth(words[1:])
        return {name: (self.folder / f"{name}.auth").read_bytes() for name in options}

    def run(self, variables: Path, name: str, media: Sequence[str], files: Mapping[str, bytes], *after: str) -> Told:
        """Starts from these media in turn; inside, sets a variable to each of the files (`VARIABLE-what`), in order."""
        sets = [f"set_variable {word.split('-')[0]} {GUIDS[word.split('-')[0]]} {word}" for word in files]
        script = "\n".join(["state", *sets, *after, ""])
        return start(variables, [self.media[each] for each in media], script, files, self.folder / name)

    def variables(self, name: str, of: Path = EMPTY_VARS) -> Path:
        copy = self.folder / f"{name}.fd"
        shutil.copyfile(of, copy)
        return copy


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("secure-boot")
    for name in ("platform", "exchange", "vendor", "second", "stranger"):
        certificate(folder, name)
    subprocess.run(["openssl", "x509", "-in", folder / "second.pem", "-outform", "DER", "-out", folder / "second.der"],
                   check=True)  # fmt: skip
    guest = unified(folder)
    media = {"unsigned": disk(guest)}
    media |= {name: disk(signed(guest, folder / f"{name}.pem")) for name in ("vendor", "second", "stranger")}
    return Bench(folder, media)


@dataclass(frozen=True, slots=True)
class Booted:
    """What was told, and the variables that it left."""

    told: Told
    left: Path
    files: Mapping[str, bytes]


def show(*names: str) -> str:
    return "\n".join(f"show {name} {GUIDS[name]}" for name in names)


@pytest.fixture(scope="module")
def enrolled(bench: Bench) -> Booted:
    """A guest without variables: its system sets them."""
    made = bench.made("platform", PK=bench.pem("platform"), KEK=bench.pem("exchange"))
    made |= bench.made("exchange", db=enrolled_db(bench))
    create_auth(["PK", f"{bench.folder}/unsigned.auth", bench.pem("platform")])
    exchange, exchange_key = bench.signer("exchange")
    create_auth(["-c", exchange, "-k", exchange_key, "PK", f"{bench.folder}/other.auth", bench.pem("platform")])
    kept = keep(bench, made["db"])
    files = {
        "db-kept": kept, "db": made["db"], "KEK": made["KEK"],
        "PK-unsigned": (bench.folder / "unsigned.auth").read_bytes(),
        "PK-other": bare((bench.folder / "other.auth").read_bytes()),
        "PK": bare(made["PK"]),
    }  # fmt: skip
    variables = bench.variables("enrolled")
    after = (show("PK", "KEK", "db", "dbx"), "tell setup $(tail -c1 $efi/SetupMode-* | xxd -p)")
    return Booted(bench.run(variables, "enrol", ["unsigned"], files, *after), variables, files)


def keep(bench: Bench, auth: bytes) -> bytes:
    """What secure-boot keeps of a guest's db, to set it again. varstore-get is made up: it needs XAPI."""
    (bench.folder / "payload").write_bytes(payload(auth))
    varstore_get(bench, "payload")
    words = ["sh", "-c", _KEEP, "sh", str(bench.folder / "kept"), "guest", GUIDS["db"], "db"]
    subprocess.run(words, check=True, env={"PATH": f"{bench.folder}:/usr/bin:/bin"})
    kept = bench.folder / "kept/db.auth"
    judged = judge(LocalHost(), [str(kept)])[str(kept)]
    assert (judged.kind, judged.mark) == ("auth", "unsigned")
    return kept.read_bytes()


def varstore_get(bench: Bench, file: str) -> None:
    tool = bench.folder / "varstore-get"
    tool.write_text(f'#!/bin/sh\ncat "{bench.folder}/{file}"\n')
    tool.chmod(0o755)


def payload(auth: bytes) -> bytes:
    return auth[16 + struct.unpack_from("<I", auth, 16)[0] :]


def enrolled_db(bench: Bench) -> str:
    """Two certificates for one variable, one of them not PEM."""
    return f"{bench.pem('vendor')},{bench.folder}/second.der"


@pytest.fixture(scope="module")
def enforced(bench: Bench, enrolled: Booted) -> Booted:
    """The same with Secure Boot on: two media that it must not start come first."""
    create_auth([*options(bench, "stranger"), "db", f"{bench.folder}/stranger.auth", bench.pem("stranger")])
    create_auth(["db", f"{bench.folder}/unsigned.auth", bench.pem("stranger")])
    create_auth([*options(bench, "exchange"), "db", f"{bench.folder}/old.auth", bench.pem("stranger")],
                datetime(2001, 1, 1, tzinfo=UTC))  # fmt: skip
    files = {
        "db-stranger": bare((bench.folder / "stranger.auth").read_bytes()),
        "db-unsigned": (bench.folder / "unsigned.auth").read_bytes(),
        "db-old": bare((bench.folder / "old.auth").read_bytes()),
        "db-made": bench.made("exchange", db=enrolled_db(bench))["db"],
        "dbx": bare(bench.made("exchange", dbx=bench.pem("vendor"))["dbx"]),
    }
    variables = bench.variables("enforced", enrolled.left)
    told = bench.run(variables, "enforce", ["unsigned", "stranger", "vendor"], files, show("db", "dbx"))
    return Booted(told, variables, files)


def options(bench: Bench, signer: str) -> list[str]:
    pem, key = bench.signer(signer)
    return ["-c", pem, "-k", key]


@pytest.fixture(scope="module")
def revoked(bench: Bench, enforced: Booted) -> Booted:
    """The vendor's certificate is in dbx now. Inside, PK is taken out."""
    files = {"PK": bare(authenticated("PK", b"", bench.signer("platform")))}
    variables = bench.variables("revoked", enforced.left)
    told = bench.run(variables, "revoke", ["vendor", "second"], files, show("PK"))
    return Booted(told, variables, files)


def test_without_variables_all_starts_and_each_is_taken_as_it_was_made(enrolled: Booted) -> None:
    told = enrolled.told
    assert told.started and told.refused == 0
    assert told.of("mokutil") == ["SecureBoot disabled", "Platform is in Setup Mode"] and told.of("byte") == ["00"]
    assert {name: told.set[name] for name in ("db-kept", "db", "KEK", "PK")} == dict.fromkeys(
        ("db-kept", "db", "KEK", "PK"), "taken"
    )
    assert told.of("setup") == ["00"] and told.of("lacks") == ["dbx"]
    for name in ("PK", "KEK", "db"):
        assert told.holds(name) == payload(enrolled.files[name]), name


def test_a_platform_key_needs_the_signature_of_its_own_key(enrolled: Booted) -> None:
    """Why secure-boot-certs refuses others: the daemons of XCP-ng look at the same."""
    told = enrolled.told
    assert (told.set["PK-unsigned"], told.set["PK-other"]) == ("Permission denied", "Permission denied")


def test_a_signature_as_create_auth_writes_it_is_for_newer_firmware(enforced: Booted) -> None:
    """varstored and uefistored take it in both forms. It is of the right signer, and later."""
    version = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "ovmf"], capture_output=True, text=True, check=True
    )
    year, month = version.stdout.split("-")[0].split(".")[:2]
    newer = (int(year), int(month)) >= LATE_ENOUGH
    assert enforced.told.set["db-made"] == ("taken" if newer else "Permission denied")


def test_only_what_a_key_in_db_signed_is_started(enforced: Booted) -> None:
    assert enforced.told.refused == 2 and enforced.told.started


def test_inside_the_guest_it_says_that_secure_boot_is_on(enforced: Booted) -> None:
    """By each of the ways that the procedure tells of."""
    told = enforced.told
    assert told.of("mokutil") == ["SecureBoot enabled"] and told.of("byte") == ["01"]
    assert any("secure boot enabled" in line.lower() for line in told.of("dmesg")), told.console


def test_an_update_inside_needs_the_right_signer_and_a_later_time(enforced: Booted, enrolled: Booted) -> None:
    told = enforced.told
    wrong = {name: told.set[name] for name in ("db-stranger", "db-unsigned", "db-old")}
    assert wrong == dict.fromkeys(wrong, "Permission denied") and told.set["dbx"] == "taken"
    assert told.holds("db") == payload(enrolled.files["db"])


def test_what_the_firmware_holds_is_what_the_check_compares(bench: Bench, enforced: Booted, enrolled: Booted) -> None:
    (bench.folder / "held").write_bytes(enforced.told.holds("db"))
    varstore_get(bench, "held")
    found = {}
    for name, data in (("db", enrolled.files["db"]), ("dbx", enforced.files["dbx"])):
        (bench.folder / "given.auth").write_bytes(data)
        words = ["sh", "-c", _HOLDS, "sh", "guest", GUIDS["db"], "db", str(bench.folder / "given.auth")]
        env = {"PATH": f"{bench.folder}:/usr/bin:/bin"}
        found[name] = subprocess.run(words, check=False, capture_output=True, env=env).returncode
    assert found == {"db": 0, "dbx": 1}


def test_what_is_in_dbx_is_refused_and_the_others_of_a_bundle_still_start(revoked: Booted) -> None:
    """The second certificate was given as DER."""
    told = revoked.told
    assert told.refused == 1 and told.started
    assert told.of("mokutil") == ["SecureBoot enabled"] and told.of("byte") == ["01"]


def test_without_pk_secure_boot_is_off_and_all_starts(bench: Bench, revoked: Booted) -> None:
    assert revoked.told.set == {"PK": "taken"} and revoked.told.of("lacks") == ["PK"]
    told = bench.run(bench.variables("open", revoked.left), "open", ["unsigned"], {})
    assert told.started and told.refused == 0
    assert told.of("mokutil") == ["SecureBoot disabled", "Platform is in Setup Mode"] and told.of("byte") == ["00"]


def test_without_db_nothing_starts(bench: Bench, enrolled: Booted) -> None:
    """What XAPI calls certs_incomplete."""
    variables = bench.variables("no-db", enrolled.left)
    files = {"db": bare(authenticated("db", b"", bench.signer("exchange")))}
    told = bench.run(variables, "take-db", ["vendor"], files, show("db"))
    assert told.set == {"db": "taken"} and told.of("lacks") == ["db"]
    told = bench.run(variables, "no-db", ["vendor", "second", "unsigned"], {})
    assert told.refused == 3 and not told.started
