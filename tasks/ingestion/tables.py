"""Tables of Delta Lake and Apache Iceberg at a version, as sources: their rows become a Parquet file.

    delta+file:///data/sales@12                     version 12 of a table; without @, the newest one
    delta+s3://bucket/sales@12
    iceberg+catalog://prod/shop.sales@8957976223    a snapshot of a table of a catalog that pyiceberg is configured for
    iceberg+file:///data/sales/metadata/00002-ef18.metadata.json

The file is written without compression, in the order that the version's log gives: the same version makes the same bytes,
and is published once.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import polars as pl

from schemas.distribution import install_command
from schemas.errors import PenstockError, ServiceUnavailable, UsageError, first_line

TABLE = re.compile(r"(?P<kind>delta|iceberg)\+(?P<place>[a-z0-9]+://.+?)(?:@(?P<version>[^@/]*))?")
CATALOG = "catalog://"
FILE = "file://"
ROWS = 1 << 17  # of a row group
NAME = re.compile(r"[^A-Za-z0-9._-]+")


def is_table(source: str) -> bool:
    """Whether a source is a table at a version.

    Args:
        source: A path, a glob or a URL.

    Returns:
        Whether it begins with `delta+` or `iceberg+` and the URL of a place.
    """
    return source.startswith(("delta+", "iceberg+")) and TABLE.fullmatch(source) is not None


def is_local_table(source: str) -> bool:
    """Whether a table lies in the files of this machine.

    Args:
        source: A path, a glob or a URL.

    Returns:
        Whether it is a table's URL, and its place begins with `file://`.
    """
    return is_table(source) and source.partition("+")[2].startswith(FILE)


def copied_table(source: str, folder: Path) -> Path:
    """Write a table's rows as a Parquet file in `folder`, named by table and version.

    Args:
        source: The table's URL.
        folder: Where the file is written.

    Returns:
        Path of the file.

    Raises:
        UsageError: There is no such table or version, or no package that reads it.
        ServiceUnavailable: The place or the catalog does not answer.
    """
    match = TABLE.fullmatch(source)
    assert match is not None
    version = _number(match["version"], source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pl.exceptions.PerformanceWarning)  # of how a scan is planned
            rows, number, name = (_delta if match["kind"] == "delta" else _iceberg)(match["place"], version)
            path = folder / f"{NAME.sub('-', name)}-{number}.parquet"
            rows.sink_parquet(path, compression="uncompressed", row_group_size=ROWS, maintain_order=True)
    except PenstockError:
        raise
    except ImportError:
        extra = match["kind"]
        raise UsageError(f"cannot read {source!r}: install what reads it: {install_command(extra)}") from None
    except FileNotFoundError:
        raise UsageError(f"cannot read {source!r}: there is no such table") from None
    except (ConnectionError, TimeoutError) as error:
        raise ServiceUnavailable(f"cannot read {source!r}: {first_line(error, 300)}") from None
    except Exception as error:
        raise UsageError(f"cannot read {source!r}: {first_line(error, 300)}") from None
    return path


def _number(version: str | None, source: str) -> int | None:
    if version is None:
        return None
    if not version.isascii() or not version.isdecimal():
        raise UsageError(f"cannot read {source!r}: after @ stands a version, a whole number")
    return int(version)


def _delta(place: str, version: int | None) -> tuple[pl.LazyFrame, int, str]:
    from deltalake import DeltaTable

    where = place.removeprefix(FILE)
    table = DeltaTable(where, version=version)
    return pl.scan_delta(where, version=table.version()), table.version(), Path(where).name


def _iceberg(place: str, snapshot: int | None) -> tuple[pl.LazyFrame, int, str]:
    table = _iceberg_table(place)
    chosen = table.current_snapshot() if snapshot is None else table.snapshot_by_id(snapshot)
    if chosen is None:
        there = ", ".join(str(each.snapshot_id) for each in table.snapshots()[-5:]) or "none"
        raise UsageError(f"the table {place!r} has no snapshot {snapshot or ''}; there are: {there}")
    return pl.scan_iceberg(table, snapshot_id=chosen.snapshot_id), chosen.snapshot_id, table.name()[-1] or "table"


def _iceberg_table(place: str) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable

    if not place.startswith(CATALOG):
        return StaticTable.from_metadata(place)
    catalog, _, name = place.removeprefix(CATALOG).partition("/")
    if not (catalog and name):
        raise UsageError(f"cannot read {place!r}: a table of a catalog is iceberg+catalog://<catalog>/<namespace>.<table>")
    return load_catalog(catalog).load_table(name)
