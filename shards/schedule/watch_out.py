"""What to watch out for in data and their lanes: allowed, and probably not meant. Both programs say it."""

from dataclasses import replace

from shards.schedule.collection import Collection
from shards.schedule.plan import SplitPlan, plan_splits
from shards.schedule.settings import ScheduleSettings
from shards.tally import Tally

FEW_MASKS = 0.1
"""Share of the frames with a mask, under which it is said how many they are."""
MUCH_PADDING = 0.05
"""Share of an epoch."""


def odd_data(
    collection: Collection,
    train: SplitPlan,
    num_val_episodes: int,
    num_ranks: int,
    *,
    masks: bool = True,
    validates: bool = True,
) -> list[str]:
    """What is odd about data and their lanes, a line each, with the setting that changes it; mostly nothing.

    Args:
        train: the plan of the episodes that train.
        masks: the policy is shown them.
        validates: there should be episodes to validate on.
    """
    tallies = [Tally.from_json(one.info.tally) for one in collection.datasets]
    num_masked_frames = sum(tally.num_masked_frames for tally in tallies)
    found = [
        few_masks(num_masked_frames, int(collection.num_frames.sum())) if masks else None,
        no_validation(num_val_episodes, len(collection.episode_ids)) if validates else None,
        much_padding(collection, train, num_ranks),
    ]
    return [line for line in found if line]


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


def much_padding(collection: Collection, plan: SplitPlan, num_ranks: int) -> str | None:
    """That much of an epoch is padding, with the setting that leaves little; None if little is.

    The setting is one group of lanes, or else as many lanes as can be.
    """
    share = padding_share(plan)
    if share <= MUCH_PADDING:
        return None
    settings = plan.settings
    choices: dict[str, ScheduleSettings] = {}
    if settings.num_groups > 1:
        choices["data.num_lane_groups=1"] = replace(settings, num_groups=1)
    for num_lanes in range(settings.num_lanes - num_ranks, 0, -num_ranks):
        if num_lanes % settings.num_groups == 0:
            choices[f"data.num_lanes={num_lanes}"] = replace(settings, num_lanes=num_lanes)
    enough = (
        f"Set {text}"
        for text, changed in choices.items()
        if padding_share(plan_splits(collection, changed)[0]) <= MUCH_PADDING
    )
    advice = next(enough, "Add episodes")
    return f"{share:.0%} of each epoch is padding: there are few episodes for so many lanes. {advice}"


def padding_share(plan: SplitPlan) -> float:
    """The padding's share of an epoch."""
    return plan.num_padding / max(plan.num_padding + plan.num_windows, 1)
