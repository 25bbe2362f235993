"""Reports as one HTML page that needs no network; light, dark, narrow and on paper.

A page is a Jinja2 template that extends `page.html` and shows panels, tables and frames by the macros of
`parts.html`. Whatever a template is given is escaped, except charts, which are `Markup`.
"""

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from shards.display import wording
from shards.display.drawing import draw_frame
from shards.display.palette import CSS_VARIABLES
from shards.display.shown_frame import ShownFrame
from shards.places import output
from shards.settings import shown

_FILTERS = (
    shown,
    wording.count,
    wording.duration,
    wording.number_of,
    wording.percent,
    wording.play_time,
    wording.short_count,
    wording.size,
    wording.span,
)


def render_page(package: str, template: str, **facts: Any) -> str:
    """The page as HTML.

    Args:
        package: where the template is, such as `pipeline.look`.
        template: its file name.
        facts: what the template shows; `title`, `subtitle`, `alarms` (sentences that nobody should miss) and
            `footer` are those of page.html.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("shards.display", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {function.__name__: function for function in _FILTERS}
    page = environment.get_template(template)
    return page.render(colours=CSS_VARIABLES, headings=[], films=[], **facts)


def strip_images(frames: Iterable[ShownFrame]) -> list[tuple[str, int, int, str]]:
    """The frames, drawn, as the strips of parts.html take them: address, width, height, description."""
    images = []
    for frame in frames:
        picture, buffer = draw_frame(frame), io.BytesIO()
        picture.save(buffer, "JPEG", quality=78)
        address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        images.append((address, *picture.size, f"frame {frame.frame} of episode {frame.episode_id}"))
    return images


def write_page(html: str, out: Path) -> None:
    """The page is at `out`.

    Raises:
        RocketError: if it cannot be written.
    """
    with output(out) as partial:
        partial.write_text(html, encoding="utf-8")
