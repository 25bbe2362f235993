"""The settings of `rocket-prep segment`: which event gives which interaction, and when a track ends."""

from typing import Annotated, Literal

from pydantic import Field

from shards.settings import Section, setting

Button = Literal["attack", "use"]
Prompt = Literal["crosshair", "cursor", "hotbar"]
Share = Annotated[float, Field(ge=0, le=1)]

_EVENTS = "patterns of events, such as mine_block:*"
_NEVER = "patterns of events to leave out of these"
_BUTTONS = "one of them is down at the prompt; none: any frame"
_FRAMES_BEFORE = "frames from the prompt to the event, at least"
_MAX_FRAMES = "frames to track back from the prompt, at most"

Before = Annotated[int, Field(ge=0, le=40)]
Reach = Annotated[int, Field(ge=1, le=1200)]


class Rule(Section):
    """How events of one kind become interactions.

    The prompt goes to the last frame, at least `frames_before` before the event, in which a menu is open (cursor)
    or none (crosshair, hotbar) and one of `buttons` is down: there the player aimed.
    """

    events: list[str] = setting([], _EVENTS)
    never: list[str] = setting([], _NEVER)
    prompt: Prompt = setting("crosshair", "where the object is")
    buttons: list[Button] = setting([], _BUTTONS)
    frames_before: Before = setting(1, _FRAMES_BEFORE)
    max_frames: Reach = setting(128, _MAX_FRAMES)


class Mine(Rule):
    """A block that is mined. The game shows it as broken up to a tick before it counts it."""

    events: list[str] = setting(["mine_block:*", "hold:attack"], _EVENTS)
    buttons: list[Button] = setting(["attack"], _BUTTONS)
    frames_before: Before = setting(2, _FRAMES_BEFORE)


class Hunt(Rule):
    """An animal or monster that is killed with a blow. An arrow tells no aim, so its kills are left out."""

    events: list[str] = setting(["kill_entity:*"], _EVENTS)
    buttons: list[Button] = setting(["attack"], _BUTTONS)


class Use(Rule):
    """What an item is used on. Tools count as used with every blow, and food and shields have no object."""

    events: list[str] = setting(["use_item:*", "press:use"], _EVENTS)
    never: list[str] = setting(
        [
            "use_item:*_pickaxe",
            "use_item:*_sword",
            "use_item:*bow",
            "use_item:shield",
            "use_item:bread",
            "use_item:*apple",
            "use_item:cooked_*",
            "use_item:baked_potato",
        ],
        _NEVER,
    )
    buttons: list[Button] = setting(["use"], _BUTTONS)


class Interact(Rule):
    """A thing that is opened or used by hand."""

    events: list[str] = setting(
        [
            "custom:open_*",
            "custom:interact_with_*",
            "custom:inspect_*",
            "custom:bell_ring",
            "custom:sleep_in_bed",
            "custom:talked_to_villager",
            "custom:trigger_trapped_chest",
            "custom:*_cauldron",
            "custom:*_noteblock",
            "custom:pot_flower",
            "custom:eat_cake_slice",
            "custom:animals_bred",
        ],
        _EVENTS,
    )


class Craft(Rule):
    """The slot that a crafted item is taken from."""

    events: list[str] = setting(["craft_item:*"], _EVENTS)
    prompt: Prompt = setting("cursor", "where the object is")
    buttons: list[Button] = setting(["attack", "use"], _BUTTONS)
    max_frames: Reach = setting(64, _MAX_FRAMES)


class Switch(Rule):
    """The hotbar slot that is selected and kept. It looks the same before, so half a second of it is enough."""

    events: list[str] = setting(["switch:*"], _EVENTS)
    prompt: Prompt = setting("hotbar", "where the object is")
    max_frames: Reach = setting(10, _MAX_FRAMES)


class Hotbar(Section):
    """Where the hotbar's slots are, for a frame of 640x360; the default is that of GUI scale 2 in 1280x720."""

    first_x: Annotated[float, Field(ge=0, le=640)] = setting(240.0, "middle of the first slot, px of 640")
    y: Annotated[float, Field(ge=0, le=360)] = setting(349.0, "middle of all slots, px of 360")
    pitch: Annotated[float, Field(gt=0, le=80)] = setting(20.0, "from one slot to the next, px of 640")


class SegmentSettings(Section):
    """The settings of `rocket-prep segment`; a rule gives the interaction type that it is named after.

    `use` gives the type interact. `approach` has no event: an item that is picked up lies at the player's feet,
    mostly out of sight, so `approach.events=[pickup:*]` is for whoever wants it all the same.
    """

    mine: Mine = Mine()
    hunt: Hunt = Hunt()
    use: Use = Use()
    interact: Interact = Interact()
    craft: Craft = Craft()
    switch: Switch = Switch()
    approach: Rule = Rule()
    hotbar: Hotbar = Hotbar()

    starts_after: Literal["any", "same"] = setting(
        "any", "a stretch starts after the last event: of any kind but a switch, or of the same name"
    )
    switch_frames: Annotated[int, Field(ge=1, le=200)] = setting(10, "a slot that is left sooner was only passed")
    search_frames: Annotated[int, Field(ge=0, le=100)] = setting(8, "how far back to look for a prompt's frame")
    min_frames: Reach = setting(1, "shorter stretches are left out")
    from_buttons: bool = setting(True, "guess events from buttons where the log has no statistics")
    frame_height: Annotated[int, Field(ge=16, le=2160)] = setting(360, "larger frames are scaled down to it, px")
    held_frames: Annotated[int, Field(ge=2, le=20000)] = setting(512, "frames in memory at most, 0.7 MB each")

    min_area: Share = setting(3e-5, "a smaller mask shows nothing; share of the frame")
    max_area: Share = setting(0.6, "a mask that covers more ends the stretch; share of the frame")
    max_jump: Share = setting(0.3, "a farther jump in one frame ends the stretch; share of the frame's width")
    max_growth: Annotated[float, Field(gt=1)] = setting(5.0, "a greater change of area in a frame ends it; factor")
    min_confidence: Share = setting(0.5, "below it the tracker has lost the object")
    lost_frames: Annotated[int, Field(ge=0, le=100)] = setting(5, "so many frames without the object are no end")

    def rules(self) -> dict[str, Rule]:
        """The rules by name, in the order in which they are asked."""
        names = ("mine", "hunt", "use", "interact", "craft", "switch", "approach")
        return {name: getattr(self, name) for name in names}
