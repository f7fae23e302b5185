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

    For bash and zsh, add the line below to the file that your shell reads at its start (~/.bashrc, ~/.zshrc). For fish,
    write the script to ~/.config/fish/completions/thgen.fish, or source it:

    \b
    eval "$(thgen completion bash)"
    eval "$(thgen completion zsh)"
    thgen completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click supports every shell in SHELLS
    click.echo(kind(click.get_current_context().find_root().command, {}, "thgen", VARIABLE).source())
