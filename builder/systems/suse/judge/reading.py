"""Reads a profile as YaST does: local names, the type that each element is given, and the line where it stands.

Types are given by `config:type`, `type` or `t`; an element without one is a string, or a map when it holds elements
(yast-yast2 a393fc9e0, library/xml/src/modules/XML.rb: parse_node and detect_type).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

YAST = "http://www.suse.com/1.0/yast2ns"
CONFIG = "http://www.suse.com/1.0/configns"
_TYPES = (f"{CONFIG} type", "type", "t")


class Unreadable(Exception):
    """The text is no XML that YaST would take."""


@dataclass(slots=True)
class Element:
    """`type` is None where none is given. `text` is stripped, as YaST does."""

    name: str
    namespace: str
    type: str | None
    line: int
    text: str = ""
    raw: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, *names: str) -> list[Element]:
        return [child for child in self.children if child.name in names]

    def first(self, name: str) -> Element | None:
        return next(iter(self.all(name)), None)

    def at(self, *names: str) -> Element | None:
        """The element at that path below this one."""
        found: Element | None = self
        for name in names:
            found = found.first(name) if found is not None else None
        return found

    def value(self, *names: str) -> str:
        """The text at that path; empty when it is not there."""
        found = self.at(*names)
        return found.text if found is not None else ""

    def truth(self, *names: str) -> bool | None:
        """What YaST takes the element at that path for: a string is as good as true. None: it is not there."""
        found = self.at(*names)
        if found is None:
            return None
        return found.text == "true" if found.type == "boolean" else True

    def walk(self) -> Iterator[Element]:
        yield self
        for child in self.children:
            yield from child.walk()


def read_profile(text: str) -> Element:
    """The root. Raises Unreadable, also for entities of the document's own: none are needed, and they can grow."""
    parser = expat.ParserCreate(namespace_separator=" ")
    open_elements: list[Element] = []
    roots: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        kind = next((attributes[key] for key in _TYPES if key in attributes), None)
        element = Element(name, namespace, kind, parser.CurrentLineNumber)
        (open_elements[-1].children if open_elements else roots).append(element)
        open_elements.append(element)

    def end(_tag: str) -> None:
        element = open_elements.pop()
        element.text = element.raw.strip()

    def data(characters: str) -> None:
        open_elements[-1].raw += characters

    def entity(*_: object) -> None:
        raise Unreadable("it declares entities of its own")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise Unreadable(str(error)) from None
    return roots[0]
