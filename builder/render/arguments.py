"""Kernel and hypervisor argument lists: ordered, keys may repeat, and no argument is ever lost on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.errors import LabError


@dataclass(frozen=True, slots=True)
class KernelArguments:
    """Arguments in the order in which the kernel reads them. Each item is one argument, without quotes.

    `console=tty0 console=hvc0` are two items with one key: both stay, in that order. Keys compare as Linux compares
    parameter names: `-` and `_` are one character.
    """

    items: tuple[str, ...] = ()

    @classmethod
    def split(cls, text: str) -> KernelArguments:
        """The arguments of a command line, by Linux's rule: double quotes keep spaces together, nothing else does.

        Raises LabError when a quote is left open.
        """
        items: list[str] = []
        current: list[str] = []
        quoted = started = False
        for character in text:
            if character == '"':
                quoted, started = not quoted, True
            elif character.isspace() and not quoted:
                if started:
                    items.append("".join(current))
                current, started = [], False
            else:
                current.append(character)
                started = True
        if quoted:
            raise LabError(f"a double quote is left open in the arguments: {text}", hint="close it, or leave it out")
        if started:
            items.append("".join(current))
        return cls(tuple(items))

    def join(self) -> str:
        """One command line that `split` reads back to the same items.

        Raises LabError for an argument that no quoting can carry: one with a double quote or a line break in it.
        """
        return " ".join(_quote(item) for item in self.items)

    def with_(self, *arguments: str) -> KernelArguments:
        """These arguments added at the end, whether their keys are there already or not."""
        return KernelArguments((*self.items, *arguments))

    def without(self, key: str) -> KernelArguments:
        """Every argument of that key left out."""
        return KernelArguments(tuple(item for item in self.items if _key(item) != _key(key)))

    def set(self, key: str, value: str | None = None) -> KernelArguments:
        """The key exactly once: in the place of its first argument, or at the end. `value` None is a bare word."""
        argument = key if value is None else f"{key}={value}"
        items: list[str] = []
        placed = False
        for item in self.items:
            if _key(item) != _key(key):
                items.append(item)
            elif not placed:
                items.append(argument)
                placed = True
        return KernelArguments(tuple(items if placed else [*items, argument]))

    def values(self, key: str) -> tuple[str | None, ...]:
        """The values of every argument of that key, in order; None for a bare word."""
        found = [item.partition("=") for item in self.items if _key(item) == _key(key)]
        return tuple(value if equals else None for _, equals, value in found)

    def __iter__(self) -> Iterator[str]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __str__(self) -> str:
        return self.join()


def _key(argument: str) -> str:
    return argument.partition("=")[0].replace("-", "_")


def _quote(argument: str) -> str:
    if '"' in argument or "\n" in argument or "\r" in argument:
        raise LabError(
            f"the argument {argument!r} cannot be passed: it holds a double quote or a line break",
            hint="the boot loader and the kernel have no way to carry these characters; leave them out",
        )
    if argument and not any(character.isspace() for character in argument):
        return argument
    key, equals, value = argument.partition("=")
    if equals and key and not any(character.isspace() for character in key):
        return f'{key}="{value}"'
    return f'"{argument}"'
