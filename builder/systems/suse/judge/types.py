"""Names and types: what YaST passes over, and what it takes for something else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.systems.suse.judge.grammar import SECTIONS, Any, Is, List, Rule
from builder.systems.suse.judge.reading import YAST, Element
from builder.systems.suse.judge.report import Report

_VALUES = {"boolean": re.compile("true|false"), "integer": re.compile(r"[+-]?[0-9]+")}


def judge_types(root: Element, report: Report) -> None:
    if root.name != "profile" or root.namespace != YAST:
        report.add("NLS002", root.line, f"the root is <{root.name}> in the namespace '{root.namespace}'",
                   f'write <profile xmlns="{YAST}">')  # fmt: skip
    _children(root, SECTIONS, report)


def _children(element: Element, rules: Mapping[str, Rule], report: Report) -> None:
    if element.text and element.children and element.type is None:
        report.add("NLS006", element.line, f"<{element.name}> holds elements, and '{element.text[:40]}' beside them",
                   "leave the text out")  # fmt: skip
    for child in element.children:
        rule = rules.get(child.name)
        if rule is None:
            names = ", ".join(sorted(rules)[:12])
            report.add("NLS003", child.line, f"<{child.name}> means nothing in <{element.name}>", f"names: {names} ...")
        else:
            _against(child, rule, report)


def _against(element: Element, rule: Rule, report: Report) -> None:
    if isinstance(rule, Any):
        return
    if isinstance(rule, Is):
        _value(element, rule, report)
    elif isinstance(rule, List):
        _typed(element, "list", report)
        for child in element.children:
            if child.name in rule.names:
                _against(child, rule.item, report)
            else:
                report.add("NLS003", child.line, f"<{child.name}> is no item of <{element.name}>",
                           f"items: {', '.join(rule.names)}")  # fmt: skip
    else:
        _typed(element, "map", report)
        _children(element, rule, report)


def _value(element: Element, rule: Is, report: Report) -> None:
    _typed(element, rule.type, report)
    wanted = _VALUES.get(rule.type)
    if wanted is not None and not wanted.fullmatch(element.text):
        report.add("NLS005", element.line, f"<{element.name}> is '{element.text[:40]}', which is no {rule.type}",
                   "write true or false" if rule.type == "boolean" else "write a whole number")  # fmt: skip
    elif rule.words and element.text not in rule.words:
        report.add(
            "NLS005", element.line, f"<{element.name}> is '{element.text[:40]}'", f"one of {', '.join(rule.words)}"
        )


def _typed(element: Element, wanted: str, report: Report) -> None:
    free = wanted in ("string", "map")
    if element.type == wanted or (free and element.type is None):
        return
    seen = f"the type {element.type}" if element.type is not None else "no type"
    hint = "leave the type out" if free else f'write <{element.name} config:type="{wanted}">'
    report.add("NLS004", element.line, f"<{element.name}> has {seen}, and YaST wants a {wanted}", hint)
