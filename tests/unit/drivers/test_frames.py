"""802.1Q tags and port rules, over many made-up frames; pcap files as others read them."""

from __future__ import annotations

import itertools
import random
import struct

import pytest

from builder.drivers.frames import Capture, PortRule, pop_tag, push_tag, read_tag, retag

CHANCE = random.Random(802)
VLANS = (1, 2, 100, 255, 256, 4094)


def frame(size: int = 60, ethertype: int = 0x0800) -> bytes:
    return CHANCE.randbytes(12) + struct.pack("!H", ethertype) + CHANCE.randbytes(size - 14)


SIZES, KINDS = (14, 18, 60, 61, 1514, 9018), (0x0800, 0x0806, 0x86DD, 0x88A8)
FRAMES = [frame(CHANCE.choice(SIZES), CHANCE.choice(KINDS)) for _ in range(200)]


@pytest.mark.parametrize("vlan", VLANS)
def test_pushing_and_popping_a_tag_gives_the_frame_back(vlan: int) -> None:
    for plain in FRAMES:
        tagged = push_tag(plain, vlan)
        assert len(tagged) == len(plain) + 4
        assert read_tag(tagged) == vlan
        assert tagged[:12] == plain[:12]  # addresses stay in front
        assert pop_tag(tagged) == plain
        assert read_tag(plain) is None


def test_a_tag_is_read_whatever_its_priority() -> None:
    for priority, vlan in itertools.product(range(8), VLANS):
        tagged = bytearray(push_tag(FRAMES[0], vlan))
        tagged[14] |= priority << 5
        assert read_tag(tagged) == vlan
        assert read_tag(memoryview(tagged)) == vlan


def test_only_the_outer_tag_of_two_is_touched() -> None:
    inner = push_tag(FRAMES[0], 7)
    assert pop_tag(push_tag(inner, 9)) == inner


def test_a_frame_that_needs_no_change_is_not_copied() -> None:
    plain, tagged = FRAMES[0], push_tag(FRAMES[0], 5)
    assert retag(plain, 1, tagged=False) is plain
    assert retag(tagged, 5, tagged=True) is tagged
    assert retag(tagged, 5, tagged=False) == plain
    assert retag(plain, 5, tagged=True) == tagged
    assert retag(push_tag(plain, 0), 5, tagged=True) == tagged  # a priority tag becomes the VLAN's


PLAIN, ACCESS, TRUNK = PortRule.of(None, ()), PortRule.of(5, ()), PortRule.of(None, (5, 6))


@pytest.mark.parametrize(
    ("rule", "tag", "vlan"),
    [
        (PLAIN, None, 1), (PLAIN, 0, 1), (PLAIN, 5, 5), (PLAIN, 4094, 4094),
        (ACCESS, None, 5), (ACCESS, 0, 5), (ACCESS, 5, None), (ACCESS, 6, None),
        (TRUNK, None, 1), (TRUNK, 0, 1), (TRUNK, 5, 5), (TRUNK, 1, 1), (TRUNK, 7, None),
    ],
)  # fmt: skip
def test_what_comes_in(rule: PortRule, tag: int | None, vlan: int | None) -> None:
    assert rule.admits(tag) == vlan


@pytest.mark.parametrize(
    ("rule", "vlan", "tagged"),
    [
        (PLAIN, 1, False), (PLAIN, 5, True), (ACCESS, 5, False), (ACCESS, 1, None), (ACCESS, 6, None),
        (TRUNK, 1, False), (TRUNK, 5, True), (TRUNK, 7, None),
    ],
)  # fmt: skip
def test_what_goes_out(rule: PortRule, vlan: int, tagged: bool | None) -> None:
    assert rule.emits(vlan) is tagged


def test_what_one_port_emits_its_twin_admits_as_the_same_vlan() -> None:
    for rule, vlan in itertools.product((PLAIN, ACCESS, TRUNK, PortRule.of(1, ())), VLANS):
        tagged = rule.emits(vlan)
        if tagged is not None:
            assert rule.admits(read_tag(retag(FRAMES[0], vlan, tagged=tagged))) == vlan


def test_access_and_trunk_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        PortRule.of(5, (6,))


def test_a_capture_is_bounded_and_counts_what_it_missed() -> None:
    capture = Capture(limit=24 + 2 * (16 + 60))
    for _ in range(5):
        capture.add(frame(60))
    data = capture.pcap()
    assert len(data) == 24 + 2 * 76
    assert capture.missed == 3
    magic, major, minor, _, _, _, link = struct.unpack("<IHHiIII", data[:24])
    assert (magic, major, minor, link) == (0xA1B2C3D4, 2, 4, 1)


def test_pieces_of_a_capture_are_the_whole_file() -> None:
    whole, pieces = Capture(1 << 20), Capture(10_000)
    taken = [pieces.take()]
    for each in FRAMES[:50]:
        whole.add(each)
        pieces.add(each)
        taken.append(pieces.take())
    assert len(taken[0]) == 24, "the header comes before any frame"
    joined = b"".join(taken)
    assert [joined[:24], len(joined)] == [whole.pcap()[:24], len(whole.pcap())]
    assert all(each in joined for each in FRAMES[:50])
    assert (pieces.frames, pieces.missed) == (50, 0)


def test_what_is_not_taken_in_time_is_counted() -> None:
    capture = Capture(200)
    for _ in range(5):
        capture.add(frame(60))
    assert (capture.frames, capture.missed) == (2, 3)
    capture.take()
    capture.add(frame(60))
    assert (capture.frames, capture.missed) == (3, 3)
