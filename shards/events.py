"""Names of events: which of the game's counters count, and which measure time or distance."""

_CLOCK_PREFIX = "custom:time_since_"
_MEASURES = frozenset(
    {"custom:play_one_minute", "custom:play_time", "custom:sneak_time", "custom:total_world_time"}
)


def is_clock(event: str) -> bool:
    """Whether a counter tells the time since something, so that it starts from 0 again in the same world."""
    return event.startswith(_CLOCK_PREFIX)


def is_measure(event: str) -> bool:
    """Whether a counter measures time or distance, so that it rises in nearly every frame."""
    return event in _MEASURES or is_clock(event) or event.endswith("_one_cm")
