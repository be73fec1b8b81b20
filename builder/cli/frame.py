"""The frame every verb hangs in: lazy loading, the options that all share, and what they are handed."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

import builder
from builder.cli.verbs import VERBS, Verb
from builder.paths import Places, data_dir

PROGRAM = "nestlab"
PREFIX = "NESTLAB"
F = TypeVar("F", bound=Callable[..., Any])


class Terminated(KeyboardInterrupt):
    """SIGTERM came. It ends a verb as Ctrl-C does, but reached this process alone and not those it started."""


@dataclass(frozen=True, slots=True)
class App:
    """What verbs are handed. `verbosity`: -1 quiet, 0 usual, 1 and up more. `environ` is the caller's."""

    places: Places
    environ: Mapping[str, str]
    verbosity: int = 0

    @property
    def quiet(self) -> bool:
        return self.verbosity < 0


def wants_color(environ: Mapping[str, str], *, stream_is_tty: bool) -> bool:
    """NO_COLOR set to anything but the empty string means no; a stream that is no terminal gets none either."""
    return stream_is_tty and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class LazyGroup(click.Group):
    """A group that knows its verbs from the table and imports a verb's module only when it is used."""

    def __init__(self, *, verbs: Sequence[Verb], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verbs = tuple(verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [verb.name for verb in self.verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = next((verb for verb in self.verbs if verb.name == cmd_name), None)
        if verb is None:
            return None
        command = load(verb)
        _name_variables(command, f"{ctx.auto_envvar_prefix or PREFIX}_{verb.name.upper()}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = [verb.name for verb in self.verbs]
        near = difflib.get_close_matches(args[0], names)
        if args[0] not in names and near and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {' or '.join(near)}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        sections: dict[str, list[tuple[str, str]]] = {}
        for verb in self.verbs:
            sections.setdefault(verb.section, []).append((verb.name, verb.help))
        for section, rows in sections.items():
            with formatter.section(section if len(sections) > 1 else "Commands"):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        own = [CompletionItem(v.name, help=v.help) for v in self.verbs if v.name.startswith(incomplete)]
        return own + click.Command.shell_complete(self, ctx, incomplete)


def load(verb: Verb) -> click.Command:
    """The click command of a verb, imported now. Its one-line help comes from the table."""
    if verb.children:
        return LazyGroup(name=verb.name, help=verb.help, verbs=verb.children, no_args_is_help=True)
    module, _, attribute = verb.target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    command.name = verb.name
    command.short_help = verb.help
    return command


def _name_variables(command: click.Command, prefix: str) -> None:
    """Click names an option's variable after the function's parameter; users know only the option."""
    for option in command.params:
        if isinstance(option, click.Option) and option.allow_from_autoenv:
            name = max(option.opts, key=len).lstrip("-").replace("-", "_").upper()
            given = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
            if name != (option.name or "").upper() and f"{prefix}_{name}" not in given:
                option.envvar = [*given, f"{prefix}_{name}"]


def volume_options(function: F) -> F:
    """-q and -v, for the root and again for verbs that take long, so that either place works."""
    function = click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_louder, is_eager=True, show_default=False,
        help="Say more; twice, show console lines too.",
    )(function)  # fmt: skip
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quieter, is_eager=True,
        help="No progress; errors only.",
    )(function)  # fmt: skip


def _app(ctx: click.Context) -> App:
    """The app of this context; made here because eager options come before the root's own function."""
    if ctx.obj is None:
        ctx.obj = App(Places.from_environment(os.environ), os.environ)
    assert isinstance(ctx.obj, App)
    return ctx.obj


def _louder(ctx: click.Context, _: click.Parameter, count: int) -> None:
    if count and not ctx.resilient_parsing:
        ctx.obj = replace(_app(ctx), verbosity=count)


def _quieter(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.obj = replace(_app(ctx), verbosity=-1)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"{PROGRAM} {builder.__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    name=PROGRAM,
    no_args_is_help=True,
    context_settings={
        "auto_envvar_prefix": PREFIX,
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 110,
    },
    epilog="LAB is a lab file, or the name of a lab that is up. First steps: `nestlab doctor`, then `nestlab up` with "
    f"one of the labs in {data_dir('labs')}. Every option can be set in the environment: "
    "`nestlab up --jobs 4` is NESTLAB_UP_JOBS=4. Exit status: 0 ok, 1 the lab or its tests failed, 2 usage or "
    "lab file, 3 this host lacks something, 4 timeout, 130 interrupted.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    allow_from_autoenv=False, help="Print the version.",
)  # fmt: skip
@volume_options
@click.pass_context
def root(ctx: click.Context) -> None:
    """Nested Xen labs, host tests on real Xen and unattended install media, from one lab file."""
    _app(ctx)


pass_app = click.make_pass_decorator(App)


def stderr_is_tty() -> bool:
    return sys.stderr.isatty()
