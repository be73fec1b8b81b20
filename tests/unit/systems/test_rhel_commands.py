"""The judge's table of commands that come and go, held against pykickstart's classes of each release, line by line."""

from __future__ import annotations

import pytest
from pykickstart.errors import KickstartError
from pykickstart.version import makeVersion

from builder.systems.rhel.judge import judge_kickstart
from builder.systems.rhel.judge.commands import COMMANDS, OPTIONS
from builder.systems.rhel.judge.reading import read_kickstart
from builder.systems.rhel.judge.report import Report
from tests.support.rhel import HANDLERS, parsed

# What stands for each row of the tables.
SAMPLES = {
    "install": "install", "upgrade": "upgrade", "auth": "auth --enableshadow", "authconfig":
    "authconfig --enableshadow",
    "authselect": "authselect select minimal", "autostep": "autostep", "device": "device e1000", "dmraid":
    "dmraid --name=a --dev=b", "deviceprobe": "deviceprobe", "multipath": "multipath --name=a --device=b --rule=c",
    ("logging", "level"): "logging --level=info", "module": "module --name=x --stream=y",
    "sshkey": "sshkey --username=root 'ssh-rsa x'",
    "timesource": "timesource --ntp-server=a.example", "eula": "eula --agreed", "reqpart": "reqpart",
    "mount": "mount sda1 /x", "vnc": "vnc", "rdp": "rdp --username=a --password=b", "interactive": "interactive",
    "bootc": "bootc --source-imgref=x --stateroot=y", "btrfs": "btrfs / --label=x btrfs.01", "hmc": "hmc",
    "key": "key --skip", "liveimg": "liveimg --url=http://x", "monitor": "monitor",
    "nvdimm": "nvdimm use --namespace=x", "ostreecontainer": "ostreecontainer --url=x", "ostreesetup":
    "ostreesetup --osname=x --url=http://x --ref=x",
    "realm": "realm join x", "rhsm": "rhsm --organization=1 --activation-key=x",
    "snapshot": "snapshot x/y --name=z --when=post-install", "stratisfs": "stratisfs / --name=a --pool=b",
    "stratispool": "stratispool a b", "syspurpose": "syspurpose --role=x", "unsupported_hardware":
    "unsupported_hardware", "zipl": "zipl --secure-boot",
    "langsupport": "langsupport en_US", "mouse": "mouse generic",
    ("clearpart", "disklabel"): "clearpart --all --disklabel=gpt",
    ("bootloader", "boot-drive"): "bootloader --location=mbr --boot-drive=sda",
    ("bootloader", "upgrade"): "bootloader --upgrade", ("bootloader", "sdboot"): "bootloader --sdboot",
    ("raid", "chunksize"): "raid / --level=1 --device=md0 --chunksize=64 raid.1 raid.2",
    ("raid", "label"): "raid / --level=1 --device=md0 --label=x raid.1 raid.2",
    ("raid", "mkfsoptions"): "raid / --level=1 --device=md0 --mkfsoptions=x raid.1 raid.2",
    ("raid", "metadata"): "raid / --level=1 --device=md0 --metadata=1.0 raid.1 raid.2",
    ("logvol", "label"): "logvol / --name=a --vgname=b --size=9 --label=x",
    ("logvol", "cachesize"): "logvol / --name=a --vgname=b --size=9 --cachesize=9 --cachepvs=x",
    ("logvol", "discards"): "logvol / --name=a --vgname=b --size=9 --discards=passdown",
    ("timezone", "isUtc"): "timezone --isUtc Etc/UTC", ("timezone", "nontp"): "timezone --utc Etc/UTC --nontp",
    ("timezone", "ntpservers"): "timezone --utc Etc/UTC --ntpservers=a.example",
    ("keyboard", "vckeymap"): "keyboard --vckeymap=us", ("keyboard", "xlayouts"): "keyboard --xlayouts=us",
    ("rootpw", "lock"): "rootpw --lock", ("rootpw", "allow-ssh"): "rootpw --allow-ssh --iscrypted $6$a$b",
    ("network", "bridgeslaves"): "network --device=br0 --bridgeslaves=eth0",
    ("network", "bridgeopts"): "network --device=br0 --bridgeslaves=eth0 --bridgeopts=stp=no",
    ("network", "interfacename"): "network --device=eth0 --vlanid=5 --interfacename=x",
    ("network", "ipv6gateway"): "network --device=eth0 --ipv6=fd00::2/64 --ipv6gateway=fd00::1",
    ("network", "teamslaves"): "network --device=team0 --teamslaves=eth0,eth1",
    ("repo", "install"): "repo --name=x --baseurl=http://x --install",
    ("repo", "metalink"): "repo --name=x --metalink=http://x", ("url", "metalink"): "url --metalink=http://x",
    ("url", "mirrorlist"): "url --mirrorlist=http://x", ("text", "non-interactive"): "text --non-interactive",
    ("firewall", "use-system-defaults"): "firewall --use-system-defaults", ("reboot", "kexec"): "reboot --kexec",
    ("%packages", "nobase"): "%packages --nobase\n%end", ("%packages", "instLangs"): "%packages --instLangs=en\n%end",
    ("%packages", "inst-langs"): "%packages --inst-langs=en\n%end",
    ("%packages", "excludeWeakdeps"): "%packages --excludeWeakdeps\n%end",
    ("%packages", "exclude-weakdeps"): "%packages --exclude-weakdeps\n%end",
}  # fmt: skip
VERDICT = {"NLK014": "error", "NLK010": "error", "NLK011": "error", "NLK012": "warning"}


def test_every_row_has_its_line() -> None:
    assert set(SAMPLES) == {*COMMANDS, *OPTIONS}


@pytest.mark.parametrize("release", HANDLERS)
def test_every_command_of_the_release_is_known(release: str) -> None:
    """And none that no release has."""
    theirs = set(makeVersion(HANDLERS[release]).commands)  # type: ignore[no-untyped-call]  # ships no types
    theirs.remove("method")  # stands for url, nfs and the like there, and cannot be written
    unknown = [f for f in judge_kickstart("\n".join(sorted(theirs)), release) if f.code == "NLK014"]
    assert unknown == [] and len(theirs) > 50
    (finding,) = [f for f in judge_kickstart("hallo\n", release) if f.code == "NLK014"]
    assert finding.hint


@pytest.mark.parametrize("release", HANDLERS)
def test_options_that_stand_alone_are_known(release: str) -> None:
    """By pykickstart's own parser of every command: what stands behind such an option is not its value."""
    seen = 0
    for name, command in makeVersion(HANDLERS[release]).commands.items():  # type: ignore[no-untyped-call]
        for option in [each for each in getattr(getattr(command, "op", None), "_actions", ()) if each.option_strings]:
            word = max(option.option_strings, key=len)
            (read,) = read_kickstart(f"{name} {word} behind", Report(release)).commands
            assert read.words == (("behind",) if option.nargs == 0 else ()), f"{name} {word}"
            seen += 1
    assert seen > 100


def test_an_option_is_no_value_of_the_one_before_it() -> None:
    (read,) = read_kickstart("part / --unheard --size=9 --other", Report("el9")).commands
    assert (read.words, read.options) == (("/",), {"unheard": True, "size": "9", "other": True})


@pytest.mark.parametrize("release", HANDLERS)
@pytest.mark.parametrize("what", SAMPLES, ids=str)
def test_both_judges_agree(what: str | tuple[str, str], release: str) -> None:
    line = SAMPLES[what] + "\n"
    try:
        theirs = "warning" if parsed(line, release)[1] else "fine"
    except KickstartError:
        theirs = "error"
    found = {VERDICT.get(finding.code) for finding in judge_kickstart(line, release)} - {None}
    ours = "error" if "error" in found else "warning" if found else "fine"
    assert ours == theirs
