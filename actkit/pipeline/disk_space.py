"""Warn early that the disk will be too small: the sizes of finished shards give an estimate for the others."""

import shutil

from actkit.config import OutputSpec
from actkit.runs import manifest
from actkit.runs.paths import SHARDS, part_name, partial_of
from actkit.runs.progress import OnProgress, Progress


def watching(output: OutputSpec, n_records: int | None, on_progress: OnProgress) -> OnProgress:
    """Return an `on_progress` that also notes, once, that the rest of the run will not fit on the disk.

    The rest is estimated by the number of records left, of about `n_records` or at most `output.max_records`. Where
    neither is known, it is another shard as large as the largest. Tables made by `finish` are small and not counted.
    """
    room = DiskSpaceWatch(output, n_records)

    def noting(progress: Progress) -> None:
        note = room.note()
        if note is not None:
            progress.notes.append(note)
        on_progress(progress)

    return noting


class DiskSpaceWatch:
    """Sums the bytes of a run's finished shards, each read as soon as it is finished."""

    def __init__(self, output: OutputSpec, n_records: int | None) -> None:
        most = output.max_records
        self._run = partial_of(output.out)
        self._part, self._step = (output.task.number, output.task.of) if output.task else (0, 1)
        self._n_records = min((number for number in (n_records, most) if number is not None), default=None)
        self._how_much = "about" if n_records is not None else "up to" if most is not None else "for another shard"
        self._bytes = self._largest = 0
        self._said = False

    def note(self) -> str | None:
        """Return, once, the warning that the rest will not fit; None before and after."""
        found = None if self._said else self._finished()
        if found is None:
            return None
        left = self._largest
        if self._n_records is not None:
            left = round(self._bytes / max(found.end.read, 1) * max(self._n_records - found.end.read, 0))
        free = shutil.disk_usage(self._run).free
        if left <= free:
            return None
        self._said = True
        return (
            f"warning: the disk may be too small: {self._how_much} {left / 1e6:,.1f} MB are still to be written, and "
            f"{free / 1e6:,.1f} MB are free; a run that finds no room stops, and goes on with --resume"
        )

    def _finished(self) -> manifest.Manifest | None:
        """Add up the shards finished since the last call and return the last of them; None where there are none."""
        last = None
        while (path := self._run / SHARDS / f"{part_name(self._part)}.json").exists():
            try:
                last = manifest.read(path)
            except (OSError, ValueError):  # continuing the run reports what is wrong with it
                self._said = True
                break
            size = sum(table.bytes for table in last.tables.values())
            self._bytes += size
            self._largest = max(self._largest, size)
            self._part += self._step
        return last
