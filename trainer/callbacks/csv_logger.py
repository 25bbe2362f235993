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
        self._row: dict[str, Any] = {}
        self._row_offset = 0
        self._open = False

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
        if not self._open:
            self._start()
        if self._row.get("step") != step:
            self._row = {"step": step}
            self._row_offset = self.path.stat().st_size
        self._row |= metrics
        new = [name for name in self._row if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite(self._rows_before())
        line = self._line(self._row)
        write_when_room(lambda: self._write_row(line), self.path, len(line))

    def _write_row(self, line: str) -> None:
        with self.path.open("r+", newline="") as file:
            file.seek(self._row_offset)
            file.truncate()
            file.write(line)

    def _start(self) -> None:
        """Keep what the checkpoint knows of, or begin an empty file."""
        self._open = True
        rows: list[dict[str, Any]] = []
        if self._resume_step and self.path.is_file():
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                rows = [
                    row
                    for row in reader
                    if (row["step"] or "").isdigit() and int(row["step"]) <= self._resume_step
                ]
        self._rewrite(rows)
        if rows and int(rows[-1]["step"]) == self._resume_step:
            self._row = {name: value for name, value in rows[-1].items() if value}
            self._row["step"] = self._resume_step
            self._row_offset = self.path.stat().st_size - len(self._line(self._row))

    def _rows_before(self) -> list[dict[str, Any]]:
        with self.path.open(newline="") as file:
            return list(csv.DictReader(io.StringIO(file.read(self._row_offset))))

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        """The file holds these rows under the current columns; readers see the old file or the new one."""
        lines = [self._line({name: name for name in self._columns}), *map(self._line, rows)]
        content = "".join(lines).encode()
        write_when_room(lambda: write_atomically(self.path, content), self.path, len(content))
        self._row_offset = self.path.stat().st_size

    def _line(self, row: Mapping[str, Any]) -> str:
        buffer = io.StringIO()
        values = [row.get(name, "") for name in self._columns]
        csv.writer(buffer, lineterminator="\n").writerow("" if value is None else value for value in values)
        return buffer.getvalue()
