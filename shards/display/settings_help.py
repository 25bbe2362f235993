"""Settings in a command's --help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:  # pydantic takes a while to import, and only help and settings need it
    from shards.settings import Section


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
