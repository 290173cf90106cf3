"""Parquet objects at a commit as lazy frames: through lakeFS's S3 gateway, or through its own API where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import polars as pl

from tasks.versions.lakefs.client import Lake
from tasks.versions.protocol import WIDER

Schema = Mapping[str, pl.DataType]
_PART = 8 << 20
REGION = "us-east-1"  # signatures name a region; the gateway takes any


def gateway_options(endpoint: str, keys: tuple[str, str]) -> dict[str, str]:
    """What polars needs to speak to the gateway."""
    return {
        "aws_endpoint_url": endpoint,
        "aws_access_key_id": keys[0],
        "aws_secret_access_key": keys[1],
        "aws_region": REGION,
        "aws_virtual_hosted_style_request": "false",
        "aws_allow_http": "true" if endpoint.startswith("http://") else "false",
    }


def through_gateway(
    repository: str, commit: str, keys: Sequence[str], schema: Schema | None, options: dict[str, str]
) -> pl.LazyFrame:
    """One lazy frame over `keys`, in their order; polars reads only the byte ranges that it needs."""
    files = [f"s3://{repository}/{commit}/{key}" for key in keys]
    if schema is None:
        return pl.scan_parquet(files, glob=False, hive_partitioning=False, storage_options=options)
    return pl.scan_parquet(
        files,
        schema=dict(schema),
        glob=False,
        hive_partitioning=False,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=WIDER,
        storage_options=options,
    )


def through_api(lake: Lake, repository: str, commit: str, keys: Sequence[str], schema: Schema | None) -> pl.LazyFrame:
    """The same through lakeFS's API: row group by row group, only the columns that are asked for."""
    from polars.io.plugins import register_io_source

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for key in keys:
            for frame in _row_groups(lake, repository, commit, key, with_columns, schema):
                part = frame if left is None else frame.head(left)
                left = None if left is None else left - part.height
                yield part if predicate is None else part.filter(predicate)
                if left == 0:
                    return

    first = schema or _schema(lake, repository, commit, keys[0])
    return register_io_source(source, schema=dict(first), validate_schema=True)


def _open(lake: Lake, repository: str, commit: str, key: str) -> Any:
    from lakefs.object import StoredObject

    return StoredObject(repository, commit, key, lake.client).reader("rb", pre_sign=False)


def copy(lake: Lake, repository: str, commit: str, key: str, target: BinaryIO) -> None:
    """Copy an object into an open file, in parts that are asked for again where a reply is lost."""
    with _open(lake, repository, commit, key) as file:
        while chunk := lake.change(lambda: _part(lake, file), lambda: None):
            target.write(chunk)


def _part(lake: Lake, file: Any) -> bytes:
    with lake.reporting():
        return bytes(file.read(_PART))


def _schema(lake: Lake, repository: str, commit: str, key: str) -> Schema:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    with lake.reporting(), _open(lake, repository, commit, key) as file:
        empty = pl.from_arrow(pq.read_schema(file).empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema


def _row_groups(
    lake: Lake, repository: str, commit: str, key: str, columns: list[str] | None, schema: Schema | None
) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    with lake.reporting(), _open(lake, repository, commit, key) as file:
        parquet = pq.ParquetFile(file, pre_buffer=True)
        wanted = columns if columns is not None else list(schema or parquet.schema_arrow.names)
        present = [name for name in wanted if name in parquet.schema_arrow.names]
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=present)
            frame = pl.from_arrow(table)
            assert isinstance(frame, pl.DataFrame)
            yield _fitted(frame, table.num_rows, wanted, schema)


def _fitted(frame: pl.DataFrame, rows: int, wanted: Sequence[str], schema: Schema | None) -> pl.DataFrame:
    """The frame with the wanted columns in their order and of the schema's types; what it lacks is null."""
    if schema is None:
        return frame.select(wanted)
    lacking = {name: pl.lit(None, dtype=schema[name]) for name in wanted if name not in frame.columns}
    base = frame if frame.width else pl.DataFrame({"_": range(rows)})
    return base.with_columns(**lacking).select(pl.col(name).cast(schema[name]) for name in wanted)
