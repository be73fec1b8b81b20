"""The stand-in installer reads answer files as the real ones do, and no file that they refuse gets past our judge."""

from __future__ import annotations

import pytest

from builder.model.units import GIB
from builder.systems.machine import Card, Machine, MachineDisk, machine_of
from builder.systems.xcpng.judge import CODES, judge_answers
from builder.systems.xcpng.options import XcpngInstall
from tests.support import xcpng
from tests.support.xcpng_answer_cases import CASES, RELEASES, RIGHT, UPGRADE, Case
from tests.support.xcpng_installer.inside import answers as reading
from tests.support.xcpng_installer.inside.xml_rules import AnswerfileException, XmlUnwrapError

CARDS = {"eth0": "52:54:00:00:00:01", "eth1": "52:54:00:00:00:02"}
DISKS = ("sda", "sdb", "sdc")
BOTH = [pytest.param(case, release, id=f"{release}-{case.name}") for case in CASES for release in RELEASES]


def machine(sectors: dict[str, int] | None = None, **found: tuple[reading.Host, ...]) -> reading.Machine:
    sizes = {f"/dev/{name}": (sectors or {}).get(name, 512) for name in DISKS}

    def sector(path: str) -> int:
        if path not in sizes:
            raise FileNotFoundError(path)
        return sizes[path]

    return reading.Machine(
        CARDS, sector, lambda path: path.replace("disk/by-id/first", "sda"),
        hosts=lambda: found.get("hosts", ()), backups=lambda: found.get("backups", ()),
    )  # fmt: skip


def read(text: str, release: str, at: reading.Machine) -> reading.Answers:
    """Everything is read, in the installer's order."""
    file = reading.AnswerFile(text, release)
    file.scripts()
    file.setup()
    return file.answers(at)


def read_case(case: Case, release: str) -> str:
    """The class of the exception, or nothing."""
    at = machine(dict(case.sectors), hosts=(reading.Host("/dev/sda", "8.2"),))
    try:
        read(case.text, release, at)
    except (AnswerfileException, XmlUnwrapError, AssertionError, OSError) as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(("case", "release"), BOTH)
def test_it_takes_and_refuses_what_the_real_one_does(case: Case, release: str) -> None:
    assert read_case(case, release) == case.verdict(release)


@pytest.mark.parametrize(("case", "release"), BOTH)
def test_our_judge_lets_nothing_through_that_is_refused(case: Case, release: str) -> None:
    """Where the installer takes a file the judge says just what the case names: there it is stricter on purpose."""
    disks = tuple(MachineDisk(name, name, 100 * GIB, case.sectors.get(name, 512)) for name in DISKS)
    cards = tuple(Card(number, name, mac) for number, (name, mac) in enumerate(CARDS.items()))
    found = [each.code for each in judge_answers(case.text, release, Machine("bios", disks, cards, True))]
    if case.verdict(release):
        assert any(CODES[code].error for code in found), found
    else:
        assert set(found) == set(case.codes(release))


@pytest.mark.parametrize("name", xcpng.CASES)
def test_it_takes_every_file_that_we_write_and_understands_it_as_meant(name: str) -> None:
    case = xcpng.CASES[name]
    node, options = case.node, XcpngInstall.model_validate(case.node.install)
    ours = machine_of(node, options.disk_names, options.devices)
    known = {each.path if each.path.startswith("/dev/") else f"/dev/{each.path}": each.sector for each in ours.disks}
    first = "/dev/md127" if node.raid else next(iter(known))
    host = reading.Host(first, "8.2")
    at = reading.Machine({card.device: card.mac for card in ours.cards}, known.__getitem__, lambda path: path,
                         hosts=lambda: (host,), backups=lambda: (host,))  # fmt: skip
    found = read(case.text, node.release, at)
    assert (found.mode, found.primary_disk) == (options.mode, first)
    scripts = reading.AnswerFile(case.text, node.release).scripts()
    assert set(scripts) <= {"installation-start", "filesystem-populated", "installation-complete"}
    if options.mode != "fresh":
        return
    assert found.hostname == (options.hostname or node.name)
    assert found.sr_type == options.sr_type
    assert (found.timezone, found.keymap) == (options.timezone, options.keyboard)
    assert found.ntp_servers == list(options.ntp)
    assert found.root_password[0] == "hash"
    assert found.card is not None
    assert found.card.name == ours.cards[options.network.card].device
    assert found.card.vlan == (options.network.vlan or 0)
    members = [f"/dev/{ours.disk(disk).path}" for array in node.raid for disk in array.disks]
    assert found.raid == ({first: members} if node.raid else {})
    assert found.services == {
        **dict.fromkeys(options.services_on, "enabled"), **dict.fromkeys(options.services_off, "disabled")
    }  # fmt: skip


def test_defaults_differ_by_release() -> None:
    plain = RIGHT.replace(' sr-type="ext"', "").replace("<ntp-server>ntp.example</ntp-server>", "")
    assert [read(plain, release, machine()).sr_type for release in RELEASES] == ["lvm", "ext", "ext"]
    large = [read(plain, release, machine({"sdb": 4096})).sr_type for release in RELEASES]
    assert large == ["lvm", "largeblock", "ext"]
    assert [read(plain, release, machine()).ntp for release in RELEASES] == ["default"] * 3
    dhcp = plain.replace('proto="static"', 'proto="dhcp"')
    assert [read(dhcp, release, machine()).ntp for release in RELEASES] == ["default", "dhcp", "dhcp"]
    assert read(RIGHT, "8.3", machine()).ntp == "manual"


def test_loose_words_mean_what_they_mean_there() -> None:
    assert read(RIGHT.replace('"yes"', '"on"'), "8.3", machine()).guest_disks == ["/dev/sdb"]
    assert read(RIGHT, "8.3", machine()).guest_disks == ["/dev/sda", "/dev/sdb"]
    assert read(RIGHT.replace("ost<", "o<!-- not this -->st<"), "8.3", machine()).hostname == "host"
    assert read(RIGHT.replace(">openvswitch<", ">ovs<"), "8.3", machine()).network_backend == "openvswitch"
    assert read(RIGHT.replace(">sda<", ">disk/by-id/first<"), "8.3", machine()).primary_disk == "/dev/sda"
    absent = read(RIGHT.replace('"eth0"', '"eth7"'), "8.3", machine()).card
    assert absent is not None and (absent.name, absent.mac) == ("eth7", "")


def test_an_upgrade_is_of_a_host_that_is_there() -> None:
    host = reading.Host("/dev/sda", "8.2")
    assert read(UPGRADE, "8.3", machine(hosts=(host,))).host == host
    with pytest.raises(AnswerfileException, match="Could not locate the installation"):
        read(UPGRADE, "8.3", machine(hosts=(reading.Host("/dev/sdb", "8.2"),)))


def test_a_restore_is_of_the_one_backup() -> None:
    backups = (reading.Host("/dev/sda", "8.2"), reading.Host("/dev/sdb", "8.2"))
    named = "<restore><backup-disk>sdb</backup-disk></restore>"
    assert read(named, "8.3", machine(backups=backups)).backup == backups[1]
    assert read("<restore/>", "8.3", machine(backups=backups[:1])).backup == backups[0]
    with pytest.raises(AnswerfileException, match="Multiple backups"):
        read("<restore/>", "8.3", machine(backups=backups))
    with pytest.raises(AnswerfileException, match="Unable to find"):
        read(named, "8.3", machine(backups=backups[:1]))
    with pytest.raises(AnswerfileException, match="Could not locate"):
        read(named, "8.3", machine())
