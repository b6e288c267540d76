"""The place on the hub that a run is pushed to: `hf://datasets/owner/name`, with `@revision` where it is a branch."""

import re
from dataclasses import dataclass

from actkit.errors import UsageError

PLACE = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?/?", re.IGNORECASE)


@dataclass(frozen=True)
class HubPlace:
    """A dataset's repository."""

    repo: str
    revision: str | None

    @property
    def url(self) -> str:
        """Its address."""
        return f"hf://datasets/{self.repo}" + (f"@{self.revision}" if self.revision else "")

    @property
    def name(self) -> str:
        """The name for `load_dataset`."""
        return self.repo

    @classmethod
    def of(cls, where: str) -> "HubPlace":
        """The place that an address names. Raises UsageError for one that names no dataset, or a folder in one."""
        found = PLACE.fullmatch(where)
        if found is None:
            raise UsageError(f"{where}: a run is pushed to a dataset of its own", "such as hf://datasets/me/name")
        return cls(found["repo"], found["revision"])
