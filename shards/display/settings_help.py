"""Settings in a command's --help."""

from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand

from shards.settings import Section, settings_of, shown


def command_with_settings(load: Callable[[], type[Section]]) -> type[TyperCommand]:
    """A command class whose --help lists the settings of a model; `load` imports it when help is wanted."""

    class SettingsCommand(TyperCommand):
        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            super().format_epilog(ctx, formatter)
            with formatter.section("Settings, as KEY=VALUE or in YAML"):
                keys = settings_of(load())
                formatter.write_dl(
                    [(f"{one.key}={shown(one.default)}", f"{one.meaning} ({one.expected})") for one in keys]
                )

    return SettingsCommand
