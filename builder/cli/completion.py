"""`nestlab completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from builder.cli.frame import PREFIX, PROGRAM, root


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: eval "$(nestlab completion bash)"        in ~/.bashrc
    zsh:  eval "$(nestlab completion zsh)"         in ~/.zshrc
    fish: nestlab completion fish | source         in ~/.config/fish/config.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(root, {}, PROGRAM, f"_{PREFIX}_COMPLETE").source())
