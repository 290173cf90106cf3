"""Files that have landed in a bucket as <prefix>/<use case>/<input>/<name>. An object is there as a whole or not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from schemas.errors import ServiceUnavailable, UsageError, first_line
from schemas.refs import Sha256
from tasks.ingestion import landing_zone
from tasks.ingestion.landing_zone import LandedFile

_PASSING = re.compile(r"NETWORK_CONNECTION|SLOW_DOWN|TIMEOUT|UNAVAILABLE|INTERNAL_FAILURE|HTTP status 5")


@dataclass(frozen=True)
class LandedObject(LandedFile):
    """An object that has landed; `state` is its size and time of change."""

    state: str

    def sha256(self) -> Sha256:
        """Hash of its name and state, not of its bytes: the run that takes it up knows those again."""
        return hashlib.sha256(f"{self.source} {self.state}".encode()).hexdigest()


def scan_bucket(url: str) -> tuple[list[LandedFile], list[str]]:
    """The objects of registered use cases below a prefix of a bucket, the oldest first.

    Endpoint, region and credentials are those of the AWS settings of this machine.

    Args:
        url: `s3://<bucket>/<prefix>`.

    Returns:
        The objects, and a sentence on each object that belongs to no use case.

    Raises:
        UsageError: The URL or the credentials are wrong.
        ServiceUnavailable: The bucket does not answer.
    """
    root = Path(url.removeprefix("s3://").rstrip("/"))
    files: list[LandedFile] = []
    strange = []
    for info in sorted(_listed(url, str(root)), key=lambda each: (each.mtime_ns or 0, each.path)):
        if not landing_zone.is_delivery(root, Path(info.path)):
            continue
        try:
            landed = landing_zone.locate_landed(root, Path(info.path))
        except UsageError as error:
            strange.append(str(error))
            continue
        state = f"{info.size} {info.mtime_ns}"
        files.append(LandedObject(landed.use_case, landed.input, f"s3://{info.path}", landed.path, state))
    return files, strange


@contextmanager
def reporting(what: str) -> Iterator[None]:
    """Turn what S3 says into ServiceUnavailable where it may pass, else into UsageError."""
    try:
        yield
    except FileNotFoundError:
        raise UsageError(f"{what}: there is no such bucket or folder") from None
    except OSError as error:
        why = f"{what}: {first_line(error, 300)}"
        raise (ServiceUnavailable if _PASSING.search(why) else UsageError)(why) from None


def _listed(url: str, root: str) -> list[Any]:
    from pyarrow import fs  # type: ignore[import-untyped]

    with reporting(f"cannot list {url!r}"):
        remote = fs.FileSystem.from_uri(f"s3://{quote(root)}")[0]
        infos = remote.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    return [each for each in infos if each.type == fs.FileType.File]
