"""`tael completion`: the scripts that let shells complete command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from wallet.cli.options import Command

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TAEL_COMPLETE"
"""Set by the scripts when they ask; click looks at it before anything else."""


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete `tael`.

    For bash, eval "$(tael completion bash)" in ~/.bashrc; for zsh, eval "$(tael completion zsh)" in
    ~/.zshrc; for fish, tael completion fish > ~/.config/fish/completions/tael.fish
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows all of SHELLS"
    click.echo(made(ctx.find_root().command, {}, "tael", VARIABLE).source())
