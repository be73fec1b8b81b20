"""What keeps a screen open, or ends otherwise than it is written: confirmations, messages, scripts, accounts."""

from __future__ import annotations

import re
from collections import Counter

from builder.systems.suse.judge.reading import Element
from builder.systems.suse.judge.report import Report

_KINDS = ("messages", "warnings", "yesno_messages", "errors")
_STAGES = ("pre-scripts", "postpartitioning-scripts", "chroot-scripts", "post-scripts", "init-scripts")
_HASH = re.compile(r"\$[0-9a-z]+\$\S+|[*!]+")
_KEYS = ("accept_unknown_gpg_key", "accept_non_trusted_gpg_key", "import_gpg_key")


def judge_screens(root: Element, report: Report) -> None:
    _confirmed(root, report)
    _messages(root, report)
    _repositories(root, report)
    _scripts(root, report)
    _end(root, report)
    _accounts(root, report)
    if not root.at("software", "products"):
        report.add(
            "NLS019", 0, "no product is named: the installer stops, or asks which", "add <products> to <software>"
        )


def _confirmed(root: Element, report: Report) -> None:
    mode = root.at("general", "mode")
    if mode is None or mode.truth("confirm") is not False:
        at = mode.first("confirm") if mode is not None else None
        report.add("NLS010", at.line if at else 0, "the installer shows its proposal and waits",
                   'add <confirm config:type="boolean">false</confirm> to <mode>')  # fmt: skip
    licences = [mode.first("confirm_base_product_license")] if mode is not None else []
    add_on = root.first("add-on")
    if add_on is not None:
        licences += [each.first("confirm_license") for group in add_on.children for each in group.children]
    for licence in licences:
        if licence is not None and (licence.type != "boolean" or licence.text == "true"):
            report.add(
                "NLS011", licence.line, "a licence would be shown and waited for", "write false, or leave it out"
            )
    for name in ("ask-list", "semi-automatic"):
        asked = root.at("general", name)
        if asked is not None and asked.children:
            report.add("NLS013", asked.line, f"<{name}> makes the installer ask", "leave it out")


def _messages(root: Element, report: Report) -> None:
    for kind in _KINDS:
        section = root.at("report", kind)
        if section is None or section.truth("show") is False:
            continue
        timeout = section.value("timeout")
        if not timeout.isdecimal() or int(timeout) == 0:
            report.add("NLS012", section.line, f"{kind} stay on the screen until somebody reads them",
                       'add <timeout config:type="integer">10</timeout>')  # fmt: skip


def _repositories(root: Element, report: Report) -> None:
    others = root.at("add-on", "add_on_others")
    if others is None or not others.children:
        return
    given = root.at("general", "signature-handling")
    missing = [name for name in _KEYS if given is None or given.first(name) is None]
    if missing:
        report.add("NLS014", others.line, f"a repository's key would be asked about: {', '.join(missing)} not said",
                   "say true or false for each in <signature-handling>")  # fmt: skip


def _scripts(root: Element, report: Report) -> None:
    second = root.truth("general", "mode", "second_stage")
    seen: Counter[tuple[str, str]] = Counter()
    for stage in _STAGES:
        section = root.at("scripts", stage)
        for script in section.children if section is not None else ():
            name = script.value("filename") or stage
            folder = stage if stage in ("pre-scripts", "init-scripts") else "scripts"
            seen[folder, name] += 1
            if seen[folder, name] == 2:
                report.add("NLS016", script.line, f"two scripts are called {name}", "give each a name of its own")
            if script.truth("feedback"):
                report.add("NLS015", script.line, f"the script {name} shows its output and waits", "leave feedback out")
        if stage == "init-scripts" and section is not None and second is False and not _runs_init_scripts(root):
            report.add("NLS023", section.line, "nothing runs init-scripts: their service is not installed",
                       "add the package autoyast2-installation")  # fmt: skip
        if stage == "post-scripts" and section is not None and section.children and second is False:
            report.add("NLS018", section.line, "post-scripts run in the second stage, and there is none",
                       "use chroot-scripts or init-scripts")  # fmt: skip


def _runs_init_scripts(root: Element) -> bool:
    packages = root.at("software", "packages")
    return packages is not None and any(each.text == "autoyast2-installation" for each in packages.children)


def _end(root: Element, report: Report) -> None:
    mode = root.at("general", "mode")
    if mode is None or mode.truth("halt") is not True:
        report.add("NLS017", mode.line if mode else 0,
                   "a machine that starts from its medium first would install itself again",
                   'add <halt config:type="boolean">true</halt>, or start from the disk first')  # fmt: skip
    for name in ("final_halt", "final_reboot"):
        if mode is not None and mode.truth(name) and mode.truth("second_stage") is False:
            report.add("NLS018", mode.line, f"{name} belongs to the second stage, and there is none", "use halt")


def _accounts(root: Element, report: Report) -> None:
    users = root.first("users")
    someone = False
    for user in users.children if users is not None else ():
        name, password = user.value("username"), user.value("user_password")
        hashed = _HASH.fullmatch(password) is not None
        if password and not (hashed and user.truth("encrypted")):
            report.add("NLS020", user.line, f"{name}'s password stands in clear",
                       "write a crypt hash, and <encrypted config:type=\"boolean\">true</encrypted>")  # fmt: skip
        someone |= bool(password.strip("*!")) or bool(user.first("authorized_keys"))
        if user.first("groups") is not None:
            report.add("NLS022", user.line, f"the groups of {name} are not read", "list the user in <groups>, userlist")
    scripts = root.first("scripts")
    by_script = any("authorized_keys" in each.text for each in (scripts.walk() if scripts is not None else ()))
    if not someone and not by_script:
        report.add("NLS021", users.line if users else 0, "nobody has a password or a key",
                   "give root user_password or authorized_keys, or write them by a script")  # fmt: skip
