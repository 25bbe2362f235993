"""What the command lines of both programs have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from shards.display.wording import version_line

if TYPE_CHECKING:  # pydantic takes a while to import, and only help and settings need it
    from shards.settings import Section


def new_app(program: str, **options: Any) -> typer.Typer:
    """An app without commands yet that knows --version; tracebacks and help are plain text."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, **options)

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(version_line(program))
            raise typer.Exit

    version = typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)

    def of_program(_: bool = False) -> None: ...

    of_program.__annotations__["_"] = Annotated[bool, version]
    app.callback()(of_program)
    return app


def command_with_settings(load: Callable[[], type[Section]]) -> type[TyperCommand]:
    """A command class whose --help lists the settings of a model; `load` imports it when help is wanted."""

    class SettingsCommand(TyperCommand):
        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            from shards.settings import settings_of, shown

            super().format_epilog(ctx, formatter)
            with formatter.section("Settings, as KEY=VALUE or in YAML"):
                keys = settings_of(load())
                formatter.write_dl(
                    [(f"{one.key}={shown(one.default)}", f"{one.meaning} ({one.expected})") for one in keys]
                )

    return SettingsCommand
