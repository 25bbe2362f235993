"""What the command lines of both programs have in common."""

import pkgutil
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from shards.display.wording import version_line


def new_app(program: str, **options: Any) -> typer.Typer:
    """An app without commands yet that knows --version; tracebacks and help are plain text."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, **options)

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(version_line(program))
            raise typer.Exit

    version = typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)

    @app.callback()
    def of_program(_: Annotated[bool, version] = False) -> None: ...

    return app


def command_with_settings(model: str) -> type[TyperCommand]:
    """A command class whose --help lists the settings of a model, `module:name`, imported when help is wanted."""

    class SettingsCommand(TyperCommand):
        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            from shards.settings import settings_of, shown  # pydantic takes a while to import

            super().format_epilog(ctx, formatter)
            with formatter.section("Settings, as KEY=VALUE or in YAML"):
                keys = settings_of(pkgutil.resolve_name(model))
                formatter.write_dl(
                    [(f"{one.key}={shown(one.default)}", f"{one.meaning} ({one.expected})") for one in keys]
                )

    return SettingsCommand
