"""Secure Boot of guests on XCP-ng: the pool's certificates, and one guest's own variables."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import pytest

from builder.errors import LabError, UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.options import parse_options
from builder.procedures.secure_boot import GUIDS
from tests.support.fake_host import FakeHost, world
from tests.support.xcp_tools import problem
from tests.unit.procedures.test_xe import HOST, POOL, VM

KINDS = {"/root/a.pem": "pem", "/root/b.der": "der", "/root/db.auth": "auth", "/root/late.pem": "pem",
         "/root/x.txt": "other", "/root/key": "other", "/root/PK.auth": "auth", "/root/raw.auth": "auth"}  # fmt: skip
# What JUDGE tells of each; tests/integration/test_secure_boot.py has it from openssl.
MARKS = {"/root/a.pem": "AA:01", "/root/b.der": "BB:02", "/root/db.auth": "signed", "/root/PK.auth": "signed",
         "/root/raw.auth": "unsigned"}  # fmt: skip


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Pool(FakeHost):
    """A host whose secureboot-certs keeps what it is given; each call of a tool is judged."""

    def __init__(self, release: str = "8.3.0", held: Sequence[str] = ()) -> None:
        self.held = {name: f"before {name}" for name in held}
        self.kept: dict[str, str] = {}
        self.newer = release.startswith("8.3")
        inventory = f"PRODUCT_VERSION='{release}'\nINSTALLATION_UUID='{HOST}'\n"
        super().__init__({
            "xe pool-list": f"{POOL}\n",
            "xe pool-param-get": self._field,
            "secureboot-certs": self._tool,
            "/opt/xensource/libexec/create-auth": self._create,
            "openssl x509": lambda argv: self.files.update({argv[-1]: b"pem of " + argv[3].encode()}) or "",
            "sha256sum": lambda argv: f"{digest(self.files[argv[1]].decode())}  x\n" if argv[1] in self.files else 1,
            "mkdir -p": "",
            "rm -rf -- /var/lib/nestlab/secure-boot": lambda _: self._forget(),
            "sh -c": self._shell,
        }, {"/etc/xensource-inventory": inventory, **dict.fromkeys(KINDS, "file")}, dialect="xe")  # fmt: skip

    QUESTIONS = (*FakeHost.QUESTIONS, "secureboot-certs report", "sha256sum", "xe pool-list", "xe pool-param-get")

    def _field(self, argv: Sequence[str]) -> str:
        wanted = "custom-uefi-certificates" if self.newer else "uefi-certificates"
        assert argv[3] == f"param-name={wanted}"
        return "tar\n" if self.held else "\n"

    def _tool(self, argv: Sequence[str]) -> str | int:
        assert problem(argv) == ""
        if argv[1] == "report":
            return "PK: here\n"
        if argv[1] == "clear":
            self.held = {}
            return ""
        words = dict(zip(("PK", "KEK", "db", "dbx"), argv[2:], strict=True))
        read = {**{path: text.decode() for path, text in self.files.items()}, **self.kept}
        self.held = {name: read[word] if word.startswith("/") else f"{word} {name}" for name, word in words.items()
                     if word != "none"}  # fmt: skip
        return ""

    def _create(self, argv: Sequence[str]) -> str:
        assert problem(argv) == ""
        words = list(argv[1:])
        signed = words[3] if words[0] == "-c" else ""
        words = words[4:] if signed else words
        parts = [self.files[path].decode() for path in words[2:]]
        self.files[words[1]] = "|".join([words[0], signed, *parts]).encode()
        return ""

    def _forget(self) -> str:
        self.files = {path: text for path, text in self.files.items() if "/secure-boot/" not in path}
        return ""

    def _shell(self, argv: Sequence[str]) -> str | int:
        script = argv[2]
        if "command -v secureboot-certs" in script:
            return ""
        if "openssl x509 -inform" in script:
            rows = [(path, KINDS[path] if path in self.files else "absent") for path in argv[4:]]
            times = {path: "expired" if "late" in path else "valid" for path in argv[4:]}
            return "".join(f"{path}\t{kind}\t{times[path]}\tCN=x\t{MARKS.get(path, '-')}\n" for path, kind in rows)
        if "base64 -d 2>" in script:
            return "".join(f"{name} {digest(text)}\n" for name, text in self.held.items())
        if "tar -x -C" in script:
            self.kept = {f"/var/lib/nestlab/secure-boot/before/{name}.auth": text for name, text in self.held.items()}
            return ""
        if "| sha256sum" in script:
            return digest(" ".join(argv[4:])) + "  -\n"
        assert script == "rm -f -- /var/lib/uefistored/*.auth" and not self.newer
        return ""


def do(host: FakeHost, name: str = "secure-boot-certs", **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost, name: str = "secure-boot-certs") -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name))


@pytest.mark.parametrize("release", ["8.2.1", "8.3.0"])
@pytest.mark.parametrize("held", [(), ("PK", "KEK", "db", "dbx"), ("PK", "KEK", "db")])
@pytest.mark.parametrize("options", [
    {"PK": "/root/b.der", "signer": "/root/b.der", "signer_key": "/root/key"},
    {"PK": "/root/PK.auth"}, {"db": "/root/a.pem,/root/b.der"}, {"db": "/root/db.auth", "dbx": "none"},
    {"KEK": "/root/a.pem", "signer": "/root/a.pem", "signer_key": "/root/key"},
])  # fmt: skip
def test_ones_own_are_installed_once_and_what_was_there_comes_back(
    release: str, held: tuple[str, ...], options: dict[str, str]
) -> None:
    host = Pool(release, held)
    before = dict(host.held)
    done = do(host, **options)
    assert done.result == "applied" and all(each.ok for each in done.evidence)
    assert ("dbx" in host.held) == (options.get("dbx") != "none")
    host.changes.clear()
    assert (do(host, **options).result, host.changes) == ("unchanged", [])
    assert undo(host).result == "undone"
    assert host.held == before and not [path for path in host.files if "/secure-boot/" in path]


def test_several_are_bundled_der_as_pem_and_signed() -> None:
    host = Pool()
    done = do(host, db="/root/a.pem,/root/b.der", signer="/root/a.pem", signer_key="/root/key")
    assert host.held["db"] == "db|/root/key|file|pem of /root/b.der" or host.held["db"].startswith("db|")
    assert any(
        line.startswith("/opt/xensource/libexec/create-auth -c /root/a.pem -k /root/key db ") for line in done.actions
    )
    assert any(line.startswith("openssl x509 -in /root/b.der -inform DER -outform PEM") for line in done.actions)


def test_a_signer_in_der_becomes_pem_before_it_signs() -> None:
    """create-auth reads its signer as PEM (create-auth.c: PEM_read_bio_X509)."""
    done = do(Pool(), PK="/root/b.der", signer="/root/b.der", signer_key="/root/key")
    converted = "openssl x509 -in /root/b.der -inform DER -outform PEM -out /var/lib/nestlab/secure-boot/signer.pem"
    create = "/opt/xensource/libexec/create-auth -c /var/lib/nestlab/secure-boot/signer.pem -k /root/key PK "
    assert converted in done.actions
    assert any(line.startswith(create) for line in done.actions[done.actions.index(converted) :])


def test_the_default_ones_are_installed_on_8_2_and_are_nothing_of_ones_own_on_8_3() -> None:
    host = Pool("8.2.1")
    assert do(host).actions[-1] == "secureboot-certs install default default default latest"
    assert (do(host).result, undo(host).result, host.held) == ("unchanged", "undone", {})
    host = Pool("8.3.0")
    assert (do(host).result, host.changes) == ("unchanged", [])
    host = Pool("8.3.0", ("PK", "KEK", "db"))
    assert do(host).actions[-1] == "secureboot-certs clear"
    assert host.held == {} and undo(host).result == "undone" and set(host.held) == {"PK", "KEK", "db"}


def test_less_than_all_of_it_is_warned_of() -> None:
    assert "revoked" in do(Pool(), dbx="none").advice[0]
    said = do(Pool(), dbx="/root/db.auth", db="/root/late.pem").advice
    assert "as new as its file" in said[0] and "/root/late.pem is out of its time" in said[1]


@pytest.mark.parametrize(("options", "codes"), [
    ({"db": "/root/x.txt"}, ["no-certificate"]), ({"db": "/root/gone.pem"}, ["no-certificate"]),
    ({"PK": "/root/a.pem,/root/b.der"}, ["one-pk"]), ({"db": "/root/a.pem,/root/db.auth"}, ["bundle"]),
    ({"db": "/root/a.pem", "signer": "/root/a.pem"}, ["signer"]),
    ({"PK": "/root/a.pem"}, ["pk-signature"]), ({"PK": "/root/raw.auth"}, ["pk-signature"]),
    ({"PK": "/root/a.pem", "signer": "/root/b.der", "signer_key": "/root/key"}, ["pk-signature"]),
    ({"PK": "/root/gone.pem"}, ["no-certificate"]),
])  # fmt: skip
def test_what_would_not_do_is_refused(options: dict[str, str], codes: list[str]) -> None:
    host = Pool()
    with pytest.raises(Refused) as caught:
        do(host, **options)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


@pytest.mark.parametrize("options", [{"db": "latest"}, {"dbx": "none,/root/db.auth"}, {"KEK": ""}, {"PK": "pk.auth"}])
def test_what_is_no_word_and_no_file_is_not_taken(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is neither"):
        do(Pool(), **options)


def test_a_host_without_the_tools_and_no_xcp_ng_are_told() -> None:
    host = Pool()
    shell = host._shell
    host.answers["sh -c"] = lambda argv: 1 if "command -v" in argv[2] else shell(argv)
    with pytest.raises(Refused, match="no-tools"):
        do(host, db="/root/a.pem")
    host.files["/etc/xensource-inventory"] = b"nothing\n"
    with pytest.raises(LabError, match="PRODUCT_VERSION"):
        do(host)


KEPT = f"/var/lib/nestlab/secure-boot-guests/{VM}"


class Guest(FakeHost):
    """A host with one guest and its store of variables. `started`: it has been, so there is a store. `newer`: the host
    has varstored of 8.3, and the pool's files on its disk."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xe vm-list", "xe vm-param-get", "xe help", "xe vm-get", "varstore-ls")

    POOLS: ClassVar = {"PK": "pool PK", "KEK": "pool KEK", "db": "pool db", "dbx": "pool dbx"}

    def __init__(self, *, power: str = "halted", firmware: str = "uefi", newer: bool = True) -> None:
        self.variables = {"PK": "own PK", "KEK": "own KEK", "db": "own db"}
        self.kept: dict[str, str] = {}
        self.secure, self.firmware, self.started, self.word = "", firmware, True, ""
        get = f"xe vm-param-get uuid={VM} param-name="
        super().__init__({
            "xe vm-list": f"{VM}\n",
            f"{get}power-state": f"{power}\n",
            f"{get}HVM-boot-params param-key=firmware": f"{firmware}\n",
            f"{get}platform param-key=secureboot": lambda _: f"{self.secure}\n",
            f"xe vm-param-set uuid={VM} platform:secureboot=": self._secure,
            f"xe vm-param-remove uuid={VM} param-name=platform param-key=secureboot": lambda _: self._secure(("=",)),
            "xe help vm-get-secureboot-readiness": "vm-get-secureboot-readiness\n" if newer else 1,
            "xe vm-get-secureboot-readiness": lambda _: f"{self.word or self._readiness()}\n",
            "varstore-ls": lambda _: "".join(f"{GUIDS[name]} {name}\n" for name in self.variables)
            + "8be4df61-93ca-11d2-aa0d-00e098032b8c BootOrder\n",
            "varstore-": self._varstore,
            "sh -c 'command -v varstore-ls'": "",
            "sh -c 'skip=": lambda argv: int(self.variables.get(argv[6]) != argv[7]),
            "sh -c": self._shell,
            f"rm -rf -- {KEPT}": self._forget,
        }, {"/etc/xensource-inventory": f"PRODUCT_VERSION='8.{2 + newer}.1'\n"}, dialect="xe")  # fmt: skip

    def _forget(self, _: Sequence[str]) -> str:
        self.kept = {}
        return ""

    def _shell(self, argv: Sequence[str]) -> str:
        """The scripts that read and keep variables, by what is only in each."""
        script = argv[2]
        if "/var/lib/varstored" in script:
            return "".join(f"{name} {digest(text)}\n" for name, text in self.POOLS.items())
        if "printf" in script and "varstore-get" in script:
            assert argv[4] == KEPT and argv[5] == VM
            assert all(GUIDS[name] == guid for guid, name in zip(argv[6::2], argv[7::2], strict=True))
            self.kept = {f"{KEPT}/{name}.auth": self.variables[name] for name in argv[7::2]}
            return ""
        if "varstore-get" in script:
            return "".join(f"{name} {digest(self.variables[name])}\n" for name in argv[6::2])
        return "".join(f"{path}\t{KINDS.get(path, 'absent')}\t-\t\tsigned\n" for path in argv[4:])

    def _readiness(self) -> str:
        """XAPI's words, as get_secureboot_readiness (xapi_vm.ml) chooses them and xe prints them."""
        if self.firmware != "uefi":
            return "not_supported"
        if self.secure != "true":
            return "disabled"
        if not self.started:
            return "first_boot"
        if "PK" not in self.variables:
            return "setup_mode"
        if "KEK" not in self.variables or "db" not in self.variables:
            return "certs_incomplete"
        return "ready" if "dbx" in self.variables else "ready_no_dbx"

    def _secure(self, argv: Sequence[str]) -> str:
        self.secure = argv[-1].rpartition("=")[2]
        return ""

    def _varstore(self, argv: Sequence[str]) -> str:
        assert problem(argv) == ""
        if argv[0] == "varstore-sb-state":
            self.variables = dict(self.POOLS) if argv[2] == "user" else {}
        elif argv[0] == "varstore-set":
            self.variables[argv[3]] = self.kept[argv[5]] if argv[5].startswith(KEPT) else argv[5]
        else:
            del self.variables[argv[3]]
        return ""


@pytest.mark.parametrize("options", [
    {}, {"variable": "db", "file": "/root/db.auth"}, {"variable": "dbx", "file": "/root/db.auth", "enable": "false"},
    {"variable": "dbx", "file": "/root/db.auth"}, {"variable": "KEK"}, {"variable": "PK"}, {"clear": "true"},
])  # fmt: skip
@pytest.mark.parametrize("newer", [True, False])
def test_a_guest_is_switched_and_its_variables_are_set_or_gone(options: dict[str, str], newer: bool) -> None:
    host = Guest(newer=newer)
    before = dict(host.variables)
    done = do(host, "secure-boot", guest="web", **options)
    assert done.result == "applied" and (host.variables == before) == (not {"variable", "clear"} & {*options})
    if "clear" in options:
        assert host.variables == (host.POOLS if newer else {})
    assert (host.secure or "false") == options.get("enable", "true")
    assert len(done.evidence) == 1 + newer + ("variable" in options or "clear" in options)
    assert do(host, "secure-boot", guest="web", **options).result == "unchanged"
    assert undo(host, "secure-boot").result == "undone"
    assert (host.secure, host.variables, host.kept) == ("", before, {})


def test_what_a_start_in_between_brought_stays_when_one_variable_is_undone() -> None:
    host = Guest(newer=False)
    do(host, "secure-boot", guest="web", variable="db", file="/root/db.auth")
    host.variables["dbx"] = "pool dbx"
    assert undo(host, "secure-boot").result == "undone"
    assert host.variables == {"PK": "own PK", "KEK": "own KEK", "db": "own db", "dbx": "pool dbx"}


@pytest.mark.parametrize(("options", "word", "expected"), [
    ({}, "disabled", "ready_no_dbx"), ({}, "setup_mode", "ready_no_dbx"), ({}, "not_supported", "ready_no_dbx"),
    ({"clear": "true"}, "setup_mode", "ready"), ({"variable": "KEK"}, "ready", "certs_incomplete"),
    ({"variable": "PK"}, "first_boot", "setup_mode"), ({"enable": "false", "clear": "true"}, "ready", "disabled"),
    ({"variable": "dbx", "file": "/root/db.auth"}, "ready_no_dbx", "ready"),
])  # fmt: skip
def test_a_word_of_xapi_that_is_another_than_what_was_asked_for_is_no_proof(
    options: dict[str, str], word: str, expected: str
) -> None:
    host = Guest()
    host.word = word
    with pytest.raises(Unproven) as caught:
        do(host, "secure-boot", guest="web", **options)
    found = [each for each in caught.value.evidence if not each.ok]
    assert [(each.what, each.expected, each.seen) for each in found] == [("XAPI's word on it", expected, word)]


def test_a_guest_that_has_never_been_started_or_has_a_bios_has_words_of_its_own() -> None:
    host = Guest()
    host.variables.clear()
    host.started = False
    assert do(host, "secure-boot", guest="web").evidence[-1].seen == "first_boot"
    assert do(Guest(firmware="bios"), "secure-boot", guest="web", enable="false").evidence[-1].seen == "not_supported"


def test_a_variable_that_was_right_before_stays_when_the_switch_is_undone() -> None:
    host = Guest()
    host.variables["db"] = "/root/db.auth"
    done = do(host, "secure-boot", guest="web", variable="db", file="/root/db.auth")
    assert done.actions == (f"xe vm-param-set uuid={VM} platform:secureboot=true",)
    assert undo(host, "secure-boot").result == "undone"
    assert host.variables["db"] == "/root/db.auth"


@pytest.mark.parametrize(("host", "options", "codes"), [
    (Guest(power="running"), {}, ["running"]),
    (Guest(firmware="bios"), {}, ["not-uefi"]),
    (Guest(), {"variable": "db", "file": "/root/a.pem"}, ["not-auth"]),
    (Guest(), {"variable": "db", "file": "/root/none.auth"}, ["not-auth"]),
    (Guest(), {"file": "/root/db.auth"}, ["which"]),
    (Guest(), {"variable": "db", "clear": "true"}, ["which"]),
])  # fmt: skip
def test_guests_that_cannot_be_changed(host: Guest, options: dict[str, str], codes: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        do(host, "secure-boot", guest="web", **options)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


def test_one_variable_is_no_secure_boot_without_pk() -> None:
    """varstored gives keys to guests without any store only (BACKEND_INIT_FIRSTBOOT in varstored.c)."""
    host = Guest()
    host.variables.clear()
    with pytest.raises(Refused, match="setup-mode"):
        do(host, "secure-boot", guest="web", variable="db", file="/root/db.auth")
    assert host.changes == []
    host = Guest(newer=False)
    host.variables.clear()
    assert do(host, "secure-boot", guest="web", variable="db", file="/root/db.auth").result == "applied"


@pytest.mark.parametrize(("variable", "newer", "said"), [
    ("db", True, "without db nothing boots"), ("PK", True, "setup mode"), ("KEK", True, "no system updates"),
    ("db", False, "comes back at the guest's next start"), ("dbx", False, "comes back"),
])  # fmt: skip
def test_what_a_guest_is_without_a_variable_is_told(variable: str, newer: bool, said: str) -> None:
    assert said in do(Guest(newer=newer), "secure-boot", guest="web", variable=variable).advice[-1]


def test_a_guest_without_tools_or_variables_is_told() -> None:
    host = Guest()
    host.answers["sh -c 'command -v varstore-ls'"] = 1
    with pytest.raises(Refused, match="no-tools"):
        do(host, "secure-boot", guest="web")
    host = Guest()
    host.variables.clear()
    assert "gets the pool's at its first start" in do(host, "secure-boot", guest="web").advice[0]
    assert "revoked" in do(Guest(), "secure-boot", guest="web", variable="dbx").advice[0]


@pytest.mark.parametrize("words", [
    ["varstore-set", VM, GUIDS["PK"], "db", "0x27", "/a.auth"],
    ["varstore-set", VM, GUIDS["db"], "PK", "0x27", "/a.auth"],
    ["varstore-rm", VM, GUIDS["db"]], ["varstore-sb-state", VM, "on"], ["secureboot-certs", "install", "latest"],
    ["/opt/xensource/libexec/create-auth", "-c", "/a", "db", "/a.auth", "/b"], ["secureboot-certs", "remove"],
])  # fmt: skip
def test_the_judge_of_tools_sees_what_they_do_not_take(words: list[str]) -> None:
    assert problem(words)
