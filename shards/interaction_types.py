"""The types of interactions: numbers, names and colours.

Source: CraftJarvis/ROCKET-1 for numbers and names; the colours are ours.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class InteractionType:
    """One type; its colours are "#rrggbb".

    Attributes:
        id: its number in datasets and batches.
        drawn_colour: on the game's pictures, told apart on grass, stone, sky and night.
        page_colour: on light pages, in the same hue.
        dark_page_colour: on dark pages.
    """

    id: int
    name: str
    drawn_colour: str
    page_colour: str
    dark_page_colour: str


NO_INTERACTION = -1
"""The type of a frame without an interaction."""

INTERACTION_TYPES = (
    InteractionType(0, "hunt", "#e64b55", "#c9303c", "#f0707a"),
    InteractionType(2, "mine", "#f59e28", "#c77800", "#f5ab3d"),
    InteractionType(3, "interact", "#4696eb", "#2b6fd0", "#6aa7f5"),
    InteractionType(4, "craft", "#af69e1", "#8a44c4", "#bd86ee"),
    InteractionType(5, "switch", "#23b9a5", "#0e8f7e", "#38c9b5"),
    InteractionType(6, "approach", "#8cbe3c", "#5f8a12", "#a3cf4f"),
)

_BY_ID = {kind.id: kind for kind in INTERACTION_TYPES}


def interaction_type(type_id: int) -> InteractionType:
    """The type of that number; a grey one where there is none."""
    name = "none" if type_id == NO_INTERACTION else f"type {type_id}"
    return _BY_ID.get(type_id) or InteractionType(type_id, name, "#c8c8c8", "#5d6673", "#9aa3b0")
