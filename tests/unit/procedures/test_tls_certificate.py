"""What is shown on port 443, and what counts as shown: with the host's programs, without a host."""

from __future__ import annotations

from builder.procedures.api import Evidence
from builder.procedures.tls_certificate import _JUDGE, _SHOWN, Asked, _Xe
from tests.support.fake_host import FakeHost, world

ASKED = Asked(certificate="/root/host.crt", key="/root/host.key", chain="/root/chain.pem")


class Shown(FakeHost):
    """A host that shows a certificate; the file of the one that was installed may be gone."""

    def __init__(self, shown: str, file: str = "") -> None:
        super().__init__({}, {}, dialect="xe")
        self.shown, self.file = shown, file
        self.answers["sh -c"] = lambda argv: self._say(argv[2])

    def _say(self, script: str) -> str:
        if script == _JUDGE:
            return f"fingerprint={self.file}\n"
        return f"{self.shown}\n" if _SHOWN in script else ""


def undone(host: FakeHost) -> Evidence:
    before = _Xe.sample.model_copy(update={"shown": "11:22", "fingerprint": "33:44"})
    (evidence,) = _Xe().check_undone(world(host), host, before, ASKED)
    return evidence


def test_a_reset_that_did_nothing_is_seen_though_the_files_are_gone() -> None:
    assert not undone(Shown("33:44")).ok
    assert not undone(Shown("55:66", file="55:66")).ok  # run again since, with another one
    assert not undone(Shown("")).ok
    assert undone(Shown("77:88")).ok and undone(Shown("77:88", file="33:44")).ok


def test_a_chain_that_is_asked_for_later_is_installed_too() -> None:
    way = _Xe()
    state = way.sample.model_copy(update={"shown": "33:44", "fingerprint": "33:44", "unshown": ("AA:BB",)})
    assert len(way.actions(state, ASKED)) == 1
    assert way.actions(state.model_copy(update={"unshown": ()}), ASKED) == ()
