"""The recordings' logs, written again from the lines that a dataset keeps."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.episodes.grouping import episode_id_from
from shards.errors import RocketError
from shards.reader import Dataset


def export_logs(dataset: Dataset, folder: Path) -> tuple[int, int]:
    """The folder holds `<recording>.jsonl` of each recording, equal to the source's log up to the last line used.

    Each file is written aside and renamed.

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
            path = folder / f"{name}.jsonl"
            temporary = path.with_name(f"{path.name}.tmp")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with open(temporary, "wb") as file:
                    file.writelines(next(lines).data for _ in range(recording.num_log_lines))
                os.replace(temporary, path)
            except OSError as error:
                if error.filename is None:
                    raise  # of the storage
                raise RocketError(
                    f"{error.filename}: cannot be written, got {error.strerror}. Give another --out."
                ) from error
            finally:
                temporary.unlink(missing_ok=True)
            num_logs, num_lines = num_logs + 1, num_lines + recording.num_log_lines
    return num_logs, num_lines
