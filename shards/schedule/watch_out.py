"""What to watch out for in data and their lanes: allowed, and probably not meant. Both programs say it."""

from dataclasses import replace

from shards.schedule.collection import Collection
from shards.schedule.plan import SplitPlan, plan_splits
from shards.schedule.settings import ScheduleSettings

FEW_MASKS = 0.1
"""Share of the frames with a mask, under which it is said how many they are."""
MUCH_PADDING = 0.05
"""Share of an epoch."""


def few_masks(num_masked_frames: int, num_frames: int) -> str | None:
    """That the data have few masks or none, with the setting; None if they have enough."""
    share = num_masked_frames / max(num_frames, 1)
    if share >= FEW_MASKS:
        return None
    have = f"only {share:.1%} of the frames have one" if num_masked_frames else "the data have none"
    return f"the policy is shown object masks, but {have}. To train without, set data.enable_segment=false"


def no_validation(num_val_episodes: int, num_episodes: int) -> str | None:
    """That no episode is left to validate on, with the setting; None if there is one."""
    if num_val_episodes:
        return None
    remedy = "data.split_ratio=0.9" if num_episodes > 1 else "trainer.val_every=null"
    episodes = f"{num_episodes:,} episode{'' if num_episodes == 1 else 's'}"
    return f"no episode is left to validate on ({episodes} in all). Set {remedy}"


def much_padding(num_padding: int, num_windows: int, remedy: str | None) -> str | None:
    """That much of an epoch is padding; None if little is. `remedy` is what `less_padding` found."""
    share = num_padding / max(num_padding + num_windows, 1)
    if share <= MUCH_PADDING:
        return None
    advice = f"Set {remedy}" if remedy else "Add episodes"
    return f"{share:.0%} of each epoch is padding: there are few episodes for so many lanes. {advice}"


def less_padding(collection: Collection, plan: SplitPlan, num_ranks: int) -> str | None:
    """The setting that leaves little padding: one group of lanes, or else as many lanes as can be.

    None if there is little already, or no setting leaves little.
    """
    if padding_share(plan) <= MUCH_PADDING:
        return None
    settings = plan.settings
    choices: dict[str, ScheduleSettings] = {}
    if settings.num_groups > 1:
        choices["data.num_lane_groups=1"] = replace(settings, num_groups=1)
    for num_lanes in range(settings.num_lanes - num_ranks, 0, -num_ranks):
        if num_lanes % settings.num_groups == 0:
            choices[f"data.num_lanes={num_lanes}"] = replace(settings, num_lanes=num_lanes)
    for text, changed in choices.items():
        if padding_share(plan_splits(collection, changed)[0]) <= MUCH_PADDING:
            return text
    return None


def padding_share(plan: SplitPlan) -> float:
    """The padding's share of an epoch."""
    return plan.num_padding / max(plan.num_padding + plan.num_windows, 1)
