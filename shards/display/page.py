"""Reports as one HTML page that needs nothing else: no network, no script; light, dark, narrow and on paper."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from shards.display.palette import type_variables
from shards.errors import RocketError

_NUMBER = "number"


@dataclass(frozen=True)
class Tile:
    """One figure that a reader looks for first."""

    value: str
    label: str


@dataclass(frozen=True)
class Panel:
    """A chart or table with its heading.

    Attributes:
        html: its content, escaped already.
        note: what to know for reading it.
        wide: whether it takes the page's whole width.
    """

    title: str
    html: str
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """Panels under a heading that the page's top links to."""

    title: str
    panels: Sequence[Panel]
    note: str = ""


def render_page(
    title: str,
    subtitle: str,
    tiles: Sequence[Tile],
    sections: Sequence[Section],
    *,
    alarms: Sequence[str] = (),
    footer: str = "",
) -> str:
    """The page as HTML; texts are escaped here, `Panel.html` is not.

    Args:
        alarms: sentences that nobody should miss.
    """
    template = Template((files("shards.display") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        style=type_variables() + (files("shards.display") / "page.css").read_text(encoding="utf-8"),
        links="\n".join(f'<a href="#{_anchor(s.title)}">{escape(s.title)}</a>' for s in sections),
        alarms="\n".join(f'<p class="alarm" role="alert">{escape(alarm)}</p>' for alarm in alarms),
        tiles="\n".join(
            f'<div class="tile"><b>{escape(tile.value)}</b><span>{escape(tile.label)}</span></div>'
            for tile in tiles
        ),
        sections="\n".join(_section(section) for section in sections),
        footer=escape(footer),
    )


def write_page(html: str, out: Path) -> None:
    """The page lies at `out`; it is written aside and renamed.

    Raises:
        RocketError: if it cannot be written.
    """
    partial = out.with_name(f".{out.name}.part")
    try:
        partial.write_text(html, encoding="utf-8")
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RocketError(f"{out}: cannot be written, got {error.strerror}. Give another --out.") from error


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A table; `align` has a letter a column: r for numbers, l for words, n for names that may break anywhere."""
    kinds = {"r": f' class="{_NUMBER}"', "l": "", "n": ' class="name"'}
    attributes = [kinds[letter] for letter in align]
    heads = "".join(
        f"<th{attribute if _NUMBER in attribute else ''}>{escape(cell)}</th>"
        for cell, attribute in zip(head, attributes, strict=True)
    )
    lines = [
        "<tr>" + "".join(f"<td{a}>{escape(cell)}</td>" for cell, a in zip(row, attributes, strict=True)) + "</tr>"
        for row in rows
    ]
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def html_image(data: bytes, kind: str, description: str, size_px: tuple[int, int]) -> str:
    """An image that is part of the page; `kind` is png or jpeg."""
    text = base64.b64encode(data).decode()
    return (
        f'<img alt="{escape(description, quote=True)}" width="{size_px[0]}" height="{size_px[1]}" '
        f'src="data:image/{kind};base64,{text}">'
    )


def html_legend(entries: Sequence[tuple[str, str]]) -> str:
    """A legend of (name, CSS variable of its colour)."""
    items = "".join(
        f'<li><i style="background: var({colour})"></i>{escape(name)}</li>' for name, colour in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _tile(tile: Tile) -> str:
    return f'<div class="tile"><b>{escape(tile.value)}</b><span>{escape(tile.label)}</span></div>'


def _section(section: Section) -> str:
    note = f'<p class="note">{escape(section.note)}</p>' if section.note else ""
    panels = "\n".join(_panel(panel) for panel in section.panels)
    return (
        f'<section id="{_anchor(section.title)}">\n<h2>{escape(section.title)}</h2>\n{note}\n'
        f'<div class="panels">\n{panels}\n</div>\n</section>'
    )


def _panel(panel: Panel) -> str:
    note = f'<p class="note">{escape(panel.note)}</p>' if panel.note else ""
    heading = f"<h3>{escape(panel.title)}</h3>" if panel.title else ""
    wide = " wide" if panel.wide else ""
    return f'<div class="panel{wide}">\n{heading}\n{note}\n{panel.html}\n</div>'


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())
