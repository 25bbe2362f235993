"""metrics.csv: a row a step, columns that may grow, and no row of a future that a crash undid."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from trainer.checkpoints.disk import write_atomically, write_when_room

FIRST_COLUMNS = ("step", "epoch", "train/loss", "val/loss")


class MetricsCsv(Logger):
    """Writes each row at once, so that a killed run has lost nothing; figures of one step share a row.

    Lightning's CSVLogger deletes the file of the run that it goes on from.
    """

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        """Go on with the file behind the row of `resume_step`; 0 starts a new file."""
        super().__init__()
        self.path = path
        self._resume_step = resume_step
        self._columns = list(FIRST_COLUMNS)
        self._last_step: int | None = None

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Settings lie in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Put the figures into the row of the step, the file's last or a new one."""
        if self._last_step is None:
            self._write(self._rows_up_to(self._resume_step))
            self._last_step = self._resume_step
        row = {"step": str(step), **metrics}
        if step == self._last_step or not set(row) <= set(self._columns):
            rows = self._rows_up_to(self._last_step)
            if rows and rows[-1]["step"] == row["step"]:
                row = {name: value for name, value in rows.pop().items() if value} | row
            self._columns += [name for name in row if name not in self._columns]
            self._write([*rows, row])
        else:
            line, size = self._text([row]), self.path.stat().st_size
            write_when_room(lambda: self._write_at(size, line), self.path, len(line))
        self._last_step = step

    def _rows_up_to(self, step: int) -> list[dict[str, str]]:
        """The file's rows that a checkpoint of that step knows of; their columns are the file's."""
        if not step or not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            self._columns = list(reader.fieldnames or self._columns)
            return [row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) <= step]

    def _write_at(self, place: int, line: str) -> None:
        with self.path.open("r+", newline="") as file:
            file.seek(place)
            file.truncate()  # what a full disk has left of a try before
            file.write(line)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """The file holds these rows under the current columns; readers see the old file or the new one."""
        content = self._text([{name: name for name in self._columns}, *rows]).encode()
        write_when_room(lambda: write_atomically(self.path, content), self.path, len(content))

    def _text(self, rows: list[dict[str, Any]]) -> str:
        buffer = io.StringIO()
        csv.DictWriter(buffer, self._columns, extrasaction="ignore", lineterminator="\n").writerows(rows)
        return buffer.getvalue()
