"""Command classes: with expert options, with options that take several values, with a default subcommand."""

import copy
import inspect
import re
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from mimaface_cli.cli.arguments import repeat_options

_EPILOG = (
    "Every option can be set by an environment variable, MIMAFACE_<COMMAND>_<OPTION> (MIMAFACE_ANIMATE_REGION=lips), "
    "and in the configuration file."
)
_PLACEHOLDERS = {"<int>": "N", "<float>": "X", "<path>": "PATH", "<str>": "TEXT"}
_REQUIRED_ARGUMENT = re.compile(r"\{(\S+?)\}")


class Command(TyperCommand):
    """A command whose `--help` omits expert options (the hidden ones); `--help-all` shows them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.help = join_lines(self.help or "")
        if self.epilog is None:
            self.epilog = _EPILOG

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with `--help-all` if the command has expert options."""
        params = name_values(super().get_params(ctx))
        help_option = self.get_help_option(ctx)
        if help_option is not None and any(getattr(param, "hidden", False) for param in self.params):
            params.append(self._help_all_option(help_option))
        return params

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the usage line, with the command as users call it."""
        pieces = _REQUIRED_ARGUMENT.sub(r"\1", " ".join(self.collect_usage_pieces(ctx)))
        formatter.write_usage(user_command_path(ctx), pieces)

    def _help_all_option(self, help_option: Any) -> Any:
        """Return the option `--help-all`, derived from the option `--help`."""

        def show_all(ctx: Any, _param: Any, is_set: bool) -> None:
            if not is_set or ctx.resilient_parsing:
                return
            hidden: list[Any] = [param for param in self.params if getattr(param, "hidden", False)]
            for param in hidden:
                param.hidden = False
            try:
                text = ctx.get_help()
            finally:
                for param in hidden:
                    param.hidden = True
            typer.echo(text, color=ctx.color)
            ctx.exit()

        option = copy.copy(help_option)
        option.name, option.opts, option.callback = "help_all", ["--help-all"], show_all
        option.help = "Show all options, including the expert options, and exit."
        return option


def user_command_path(context: Any) -> str:
    """Return how users call a command: the default command of a group, which is hidden, by the group's name."""
    is_default = context.command.hidden and context.parent is not None
    return context.parent.command_path if is_default else context.command_path


def join_lines(text: str) -> str:
    """Return a help text with the lines of each paragraph joined, except those of examples."""
    summary, *paragraphs = [
        part if part.startswith("Example") else " ".join(part.split("\n"))
        for part in inspect.cleandoc(text).split("\n\n")
    ]
    # Without the empty paragraph, Typer would remove the indentation of examples that follow the summary.
    return "\n\n".join([summary, "", *paragraphs] if paragraphs else [summary])


def name_values(params: list[Any]) -> list[Any]:
    """Replace Python's types in the help of the parameters by placeholders; switches and arguments get none."""
    for param in params:
        if isinstance(param, TyperArgument):
            vars(param)["display_type_rich"] = lambda ctx: None
        elif param.metavar is None:
            param.metavar = "" if param.is_flag else _PLACEHOLDERS.get(param.display_type(None))
    return params


class AssignmentCommand(Command):
    """A command whose assignment options take all NAME=VALUE words that follow them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after repeating the assignment options."""
        return super().parse_args(ctx, repeat_options(args))


class CommandGroup(TyperGroup):
    """A group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with placeholders for their values."""
        return name_values(super().get_params(ctx))


class DefaultCommandGroup(CommandGroup):
    """A group with a default command, its first one: `evaluate RESULT` measures RESULT."""

    @property
    def default_command(self) -> Any:
        """The command that runs if the command line names none."""
        return next(iter(self.commands.values()))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words, after adding the name of the default command if no command is named."""
        if not args or args[0] not in self.commands:
            args = [self.default_command.name, *args]
        return super().parse_args(ctx, args)
