"""The dataset's contract: what a clip holds, how shards are written, described, read and scheduled."""

from shards.errors import DamagedClip, DatasetError, RocketError
from shards.reader import Dataset, open_dataset

__all__ = ["DamagedClip", "Dataset", "DatasetError", "RocketError", "open_dataset"]
