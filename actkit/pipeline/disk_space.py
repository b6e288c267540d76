"""Warn that the disk will be too small while there is time: finished shards tell how much the others will take."""

import shutil

from actkit.config import OutputSpec
from actkit.runs import manifest
from actkit.runs.paths import SHARDS, part_name, partial_of
from actkit.runs.progress import OnProgress, Progress


def watching(output: OutputSpec, n_records: int | None, on_progress: OnProgress) -> OnProgress:
    """`on_progress`, which also notes, once, that what is left to write will not fit on the disk.

    What is left goes by the records: `n_records`, about, or at most `output.max_records`. Where neither is known, it is
    another shard as large as the largest one. Tables over the finished ones, which are small, are not counted.
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
        """The warning that the rest will not fit, once; None before and after."""
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
        """The last finished shard; None where none has been finished since this was asked last."""
        last = None
        while (path := self._run / SHARDS / f"{part_name(self._part)}.json").exists():
            try:
                last = manifest.read(path)
            except (OSError, ValueError):  # whoever continues the run will say what is wrong with it
                self._said = True
                break
            size = sum(table.bytes for table in last.tables.values())
            self._bytes += size
            self._largest = max(self._largest, size)
            self._part += self._step
        return last
