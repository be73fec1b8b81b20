"""Readers of what a host's tools print, on outputs seen on real hosts."""

from __future__ import annotations

import pytest

from builder.errors import LabError
from builder.procedures import asking, xe
from tests.support.fake_host import FakeHost

# Debian 13, Xen 4.20: the second guest has shut down, the third is being taken apart.
XL_LIST = """\
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0  1024     2     r-----     685.3
web server                                   3   192     1     -b----       1.7
going                                        4   192     1     ---s--       9.1
gone                                         5     0     1     --p--d       9.9
(null)                                       6     0     0     --ps-d       2.0
"""


def test_domains_are_those_that_run() -> None:
    host = FakeHost({"xl list": XL_LIST})
    assert asking.domains(host) == [("Domain-0", 0, 1024), ("web server", 3, 192)]
    assert asking.running_guests(host, "xl") == ("web server",)


def test_a_command_that_fails_says_which_and_why() -> None:
    with pytest.raises(LabError, match=r"dom0: xl list ended with status 1: xl list: status 1"):
        asking.domains(FakeHost({"xl list": 1}))


def test_a_host_without_an_inventory_entry_is_told() -> None:
    with pytest.raises(LabError, match="INSTALLATION_UUID"):
        asking.xe_host(FakeHost({}, {"/etc/xensource-inventory": "PRODUCT_BRAND='XCP-ng'\n"}))


def test_a_file_that_is_not_there_is_none() -> None:
    assert asking.read_text(FakeHost({}), "/etc/nothing") is None
    assert asking.read_text(FakeHost({}, {"/etc/x": "y"}), "/etc/x") == "y"


def test_a_key_that_a_map_lacks_is_empty_and_another_error_is_one() -> None:
    host = FakeHost({"xe vm-param-get": 1})
    assert xe.map_key(host, "vm", "U", "other-config", "auto_poweron") == ""
    assert xe.map_key(FakeHost({"xe vm-param-get": "true\n"}), "vm", "U", "other-config", "auto_poweron") == "true"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "MemTotal:        1016276 kB\nMemFree: 1 kB\nHugePages_Total:       0\n",
            {"MemTotal": 1040666624, "MemFree": 1024},
        ),
        ("", {}),
    ],
)
def test_meminfo_is_read_in_bytes(text: str, found: dict[str, int]) -> None:
    assert asking.meminfo(FakeHost({}, {"/proc/meminfo": text})) == found
