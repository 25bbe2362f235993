"""The recordings' logs, written again from the lines that a dataset keeps."""

from pathlib import Path

from pipeline.episodes.grouping import episode_id_from
from shards.places import output
from shards.reader import Dataset


def export_logs(dataset: Dataset, folder: Path) -> tuple[int, int]:
    """The folder holds `<recording>.jsonl` of each recording, equal to the source's log up to the last line used.

    Returns:
        How many logs and how many lines.

    Raises:
        DatasetError: if the dataset was built without logs, or a clip is damaged.
        RocketError: if the folder cannot be written.
        OSError: if the storage fails.
    """
    num_logs = num_lines = 0
    for episode in range(len(dataset.episodes)):
        recordings = dataset.episode_row(episode).recordings
        lines = dataset.read_log(episode)
        for recording in recordings:
            name = (
                recording.name if Path(recording.name).name == recording.name else episode_id_from(recording.name)
            )
            data = b"".join(next(lines).data for _ in range(recording.num_log_lines))
            with output(folder / f"{name}.jsonl") as partial:
                partial.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(data)
            num_logs, num_lines = num_logs + 1, num_lines + recording.num_log_lines
    return num_logs, num_lines
