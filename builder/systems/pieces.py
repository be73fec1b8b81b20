"""Groups of installer settings that several systems have in common: accounts, package sources, bonds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from builder.errors import LabError
from builder.model.lab import Node, Value
from builder.systems.settings import Account, BondOption, Bool, CryptHash, Device, SshKey, Url, Word

MOST = 256
"""Of anything in a list: a host has fewer, and a file made to take long is answered in seconds."""

CardNumber = Annotated[int, Field(strict=True, ge=0, le=8)]


class User(Value):
    """An account of the installed host."""

    name: Account = Field(description="Login name.")
    password: CryptHash | None = Field(None, description="A crypt hash; without one, only keys let the user in.")
    keys: tuple[SshKey, ...] = Field((), max_length=MOST, description="Public ssh keys that let the user in.")
    groups: tuple[Account, ...] = Field((), max_length=MOST, description="More groups of the user.")
    admin: Bool = Field(False, description="In group wheel or sudo, and may use sudo without a password.")


class Repository(Value):
    """Packages from one more place."""

    name: Word = Field(description="A word for it.")
    url: Url = Field(description="Where its repodata folder is.")


class Bond(Value):
    """Several cards as one. Card 0 is the management card, 1 the first of the node's networks. The bond has the
    addresses of its first card."""

    name: Device = Field(description="Such as bond0.")
    cards: tuple[CardNumber, ...] = Field(max_length=9, description="Numbers of its cards.")
    mode: Literal[
        "active-backup", "balance-rr", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"
    ] = Field("active-backup", description="How the cards share the work.")
    options: tuple[BondOption, ...] = Field(
        ("miimon=100",), max_length=MOST, description="More options of the bonding driver."
    )


def refuse_users(users: Sequence[User], what: str) -> None:
    """Raises LabError for root among the users, and for two of one name. `what` is "host-a: install"."""
    names = [user.name for user in users]
    for name in names:
        if name == "root":
            raise LabError(f"{what}.users: root is no user of its own", hint="use root_password and root_keys")
        if names.count(name) > 1:
            raise LabError(f"{what}.users: two users are called {name}", hint="rename one of them")


def refuse_services(on: Sequence[str], off: Sequence[str], what: str) -> None:
    """Raises LabError for a service that is to be enabled and disabled."""
    for name in on:
        if name in off:
            raise LabError(f"{what}: the service {name} is to be on and off", hint="take it out of one list")


def refuse_bonds(node: Node, bonds: Sequence[Bond], cards: int, what: str) -> None:
    """Raises LabError for bonds of fewer than two cards, of cards that are not there or in two of them, and of a card
    with addresses that the bond would not have. `cards` counts the management card."""
    refuse_shared_cards([(bond.name, bond.cards) for bond in bonds], cards, what)
    for bond in bonds:
        if len(bond.cards) < 2:
            raise LabError(f"{what}: {bond.name} is a bond of fewer than two cards", hint="name two cards")
        for card in bond.cards[1:]:
            if card == 0 or node.nics[card - 1].addresses or node.nics[card - 1].trunk:
                raise LabError(
                    f"{what}: {bond.name} has the addresses of its first card, and card {card} has some of its own",
                    hint="name the card with the addresses first, and no other one that has any",
                )


def refuse_shared_cards(devices: Sequence[tuple[str, tuple[int, ...]]], cards: int, what: str) -> None:
    """Raises LabError for devices, given with the numbers of their cards, that share a name or a card, or stand on a
    card that is not there."""
    owner: dict[int, str] = {}
    for name, below in devices:
        for card in below:
            if card >= cards:
                raise LabError(
                    f"{what}: {name} takes card {card}, and the last one is {cards - 1}",
                    hint="card 0 is the management card, 1 the first of networks:",
                )
            if card in owner:
                raise LabError(f"{what}: card {card} is in {owner[card]} and in {name}", hint="give it to one of them")
            owner[card] = name
    if len({name for name, _ in devices}) != len(devices):
        raise LabError(f"{what}: two devices have one name", hint="give each bond and bridge a name of its own")
