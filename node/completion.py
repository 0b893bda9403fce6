"""`taeld completion`: the scripts that let shells complete command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_TAELD_COMPLETE"
"""Set by the scripts when they ask; click looks at it before anything else."""


@click.command("completion", short_help="Print the script that completes command lines.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the script that lets SHELL complete `taeld`.

    For bash, eval "$(taeld completion bash)" in ~/.bashrc; for zsh, eval "$(taeld completion zsh)" in
    ~/.zshrc; for fish, taeld completion fish > ~/.config/fish/completions/taeld.fish
    """
    made = get_completion_class(shell)
    assert made is not None, "click knows all of SHELLS"
    click.echo(made(context.find_root().command, {}, "taeld", VARIABLE).source())
