"""``thgen completion``."""

from __future__ import annotations

import click

from thcli.commands import options

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_THGEN_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@options.debug
def command(shell: str) -> None:
    """Print a script that lets a shell complete commands, options, their values, and file names.

    Put the line for your shell where it is read at the start (~/.bashrc, ~/.zshrc), or the script into
    ~/.config/fish/completions/thgen.fish:

    \b
    eval "$(thgen completion bash)"
    eval "$(thgen completion zsh)"
    thgen completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # it is one of SHELLS
    click.echo(kind(click.get_current_context().find_root().command, {}, "thgen", VARIABLE).source())
