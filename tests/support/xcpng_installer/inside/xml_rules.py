"""How the installer looks at XML: elements anywhere below, text without comments, loose truth, strict enumerations."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence


class AnswerfileException(Exception):
    """The answer file means something that cannot be done. Named as in the real one's log."""


class XmlUnwrapError(Exception):
    """An element or attribute is missing, or has a value that is none."""


def parse(text: str | bytes) -> ET.Element:
    """The root element. Raises AnswerfileException for what is no XML."""
    try:
        return ET.fromstring(text)
    except ET.ParseError:
        raise AnswerfileException("Answerfile is incorrectly formatted.") from None


def elements(root: ET.Element, *names: str, mandatory: bool = False) -> list[ET.Element]:
    """All below `root`, at any depth; those of the first name come first."""
    found = [each for name in names for each in root.iter(name) if each is not root]
    if mandatory and not found:
        raise XmlUnwrapError(f"Missing mandatory element {names[0]}")
    return found


def text(element: ET.Element) -> str:
    """Its own text, also that behind comments and children, without blanks at the ends."""
    return "".join([element.text or "", *(child.tail or "" for child in element)]).strip()


def attribute(element: ET.Element, *names: str, mandatory: bool = False) -> str:
    """The first of the names that says something; an empty attribute is like none."""
    for name in names:
        if element.get(name):
            return str(element.get(name))
    if mandatory:
        raise XmlUnwrapError(f"Missing mandatory attribute {names[0]}")
    return ""


def truth(element: ET.Element, names: Sequence[str], default: bool) -> bool:
    """yes and true in any case are true; absence is the default; every other word is false."""
    said = attribute(element, *names).lower()
    return said in ("yes", "true") if said else default


def choice(element: ET.Element, names: Sequence[str], words: Mapping[str, str], default: str) -> str:
    """What the word stands for. Case counts."""
    said = attribute(element, *names) or default
    if said not in words:
        raise XmlUnwrapError(f"Unexpected key {said} for attribute")
    return words[said]
