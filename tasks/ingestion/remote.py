"""Sources that lie elsewhere: objects of a lakeFS repository or of an S3 bucket, rows of a query, and tables at a version.

They become files for a while, and sources like any other.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from schemas.errors import NotFound, UsageError
from schemas.settings import in_force
from tasks.ingestion.s3 import reporting
from tasks.ingestion.sql import is_query, queried
from tasks.ingestion.tables import copied_table, is_local_table, is_table
from tasks.versions import open_store

SCHEMES = ("lakefs://", "s3://")
_CHUNK = 8 << 20


def is_remote(source: str) -> bool:
    """Whether a source has to be fetched.

    Args:
        source: A path, a glob or a URL.

    Returns:
        Whether it is a URL, and not that of a table in this machine's files.
    """
    return source.startswith(SCHEMES) or (is_table(source) and not is_local_table(source))


@contextmanager
def fetched(source: str) -> Iterator[str]:
    """A source as a path or glob of this machine: a remote one is copied for as long as the block lasts.

    `lakefs://<repository>/<ref>/<path>` and `s3://<bucket>/<key>`, whose last part may be a pattern, and the rows of a query
    in a file `<name>.sql`; of a table of Delta Lake or Apache Iceberg, the rows of one version.

    Args:
        source: A path or glob of this machine, a `lakefs://` or `s3://` URL, a file `<name>.sql`, or a table's URL:
            `delta+<place>@<version>` or `iceberg+<place>@<snapshot>`.

    Yields:
        A path or glob of this machine.

    Raises:
        UsageError: There is no such object.
        ServiceUnavailable: Nobody answers.
    """
    if not (is_remote(source) or is_query(source) or is_table(source)):
        yield source
        return
    with TemporaryDirectory(prefix="penstock-source-") as name:
        if is_table(source):
            yield str(copied_table(source, Path(name)))
            return
        if not is_remote(source):
            yield str(queried(_own(Path(source)), Path(name)))
            return
        copies = (_from_lakefs if source.startswith("lakefs://") else _from_s3)(source, Path(name))
        yield str(copies / "*")


def _own(path: Path) -> Path:
    """A query that is ours. Whoever may land files may not thereby ask our databases: those that landed are not run."""
    if path.resolve().is_relative_to(in_force().landing_dir):
        raise UsageError(f"{path.name!r} lies in the landing folder: a query that landed is not run; keep it elsewhere")
    return path


def _folder(folder: Path, parent: str) -> Path:
    """The folder of the copies: it is named like the remote one, which may say which input the source delivers."""
    copies = folder / (Path(parent).name or "source")
    copies.mkdir()
    return copies


def _from_lakefs(source: str, folder: Path) -> Path:
    from tasks.versions.lakefs.store import LakeFSStore

    repository, _, rest = source.removeprefix("lakefs://").partition("/")
    ref, _, path = rest.partition("/")
    if not (repository and ref and path):
        raise UsageError(f"cannot read {source!r}: a source on lakeFS is lakefs://<repository>/<ref>/<path>")
    store = open_store(f"lakefs://{repository}")
    assert isinstance(store, LakeFSStore)
    parent = path.rpartition("/")[0]
    copies = _folder(folder, parent)
    try:
        commit = store.head(store.place.own(ref) or ref)
        for matched in _matching(
            source, [stored.path for stored in store.objects(commit, f"{parent}/" if parent else "")], path
        ):
            with (copies / Path(matched).name).open("wb") as file:
                store.download(commit, matched, file)
    except NotFound as error:
        raise UsageError(f"cannot read {source!r}: {error}") from None
    return copies


def _matching(source: str, paths: list[str], pattern: str) -> list[str]:
    level = pattern.count("/")
    matching = [path for path in paths if path == pattern or (path.count("/") == level and fnmatchcase(path, pattern))]
    if not matching:
        raise UsageError(f"cannot read {source!r}: no such object, and as a pattern it matches none")
    return matching


def _from_s3(source: str, folder: Path) -> Path:
    """Endpoint, region and credentials are those of the AWS settings of this machine."""
    from pyarrow import fs  # type: ignore[import-untyped]

    bucket = source.removeprefix("s3://")
    parent, _, pattern = bucket.rpartition("/")
    if not (parent and pattern):
        raise UsageError(f"cannot read {source!r}: a source on S3 is s3://<bucket>/<key>")
    copies = _folder(folder, parent)
    with reporting(f"cannot read {source!r}"):
        remote = fs.FileSystem.from_uri(f"s3://{quote(parent)}")[0]
        selected = remote.get_file_info(fs.FileSelector(parent, recursive=False))
        files = [matched.path for matched in selected if matched.type == fs.FileType.File]
        for matched in _matching(source, files, bucket):
            with remote.open_input_stream(matched) as reader, (copies / Path(matched).name).open("wb") as writer:
                shutil.copyfileobj(reader, writer, _CHUNK)
    return copies
