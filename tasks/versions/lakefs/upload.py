"""Objects sent to lakeFS: streamed from the file, a megabyte of it in memory at a time."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from schemas.errors import StoreError, UsageError
from tasks.versions.lakefs.client import Lake

_META = "x-lakefs-meta-"
_TYPE = "application/octet-stream"


@contextmanager
def opened(source: Path | bytes) -> Iterator[io.BufferedIOBase]:
    """Content as a file. Raises UsageError where `source` is no readable file."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    if not source.is_file():
        raise UsageError(f"cannot upload {str(source)!r}: there is no such file")
    try:
        with source.open("rb") as file:
            yield file
    except PermissionError as error:
        raise UsageError(f"cannot upload {str(source)!r}: {error.strerror}") from error


def measured(source: Path | bytes) -> tuple[str, int]:
    """Sha256 and size in bytes."""
    with opened(source) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return sha256, file.seek(0, io.SEEK_END)


def send(lake: Lake, repository: str, branch: str, key: str, source: Path | bytes, metadata: Mapping[str, str]) -> int:
    """Stage one object, in one request whose error is one of ours. Returns the size that arrived."""
    with opened(source) as file, lake.reporting():
        signed_urls = _signed_urls(lake)
        return (_send_signed if signed_urls else _send)(lake, repository, branch, key, file, metadata)


def _signed_urls(lake: Lake) -> bool:
    return bool(lake.config.storage_config and lake.config.storage_config.pre_sign_support)


def _send(lake: Lake, repository: str, branch: str, key: str, file: io.BufferedIOBase, metadata: Mapping[str, str]) -> int:
    """Straight to the server. The SDK's own writer would copy the content to a temporary file first."""
    from lakefs.exceptions import handle_http_error

    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    config, api = lake.client.config, lake.sdk.objects_api.api_client
    where = f"{config.host}/repositories/{quote(repository)}/branches/{quote(branch)}/objects?{urlencode({'path': key})}"
    headers = {"Accept": "application/json", "Content-Type": _TYPE, "Content-Length": str(size), **_authorization(config)}
    headers.update({_META + name: value for name, value in metadata.items()})
    answer = api.rest_client.pool_manager.request("POST", where, body=file, headers=headers)
    handle_http_error(answer)
    return int(answer.json()["size_bytes"])


def _authorization(config: Any) -> dict[str, str]:
    token = f"Bearer {config.access_token}" if config.access_token else config.get_basic_auth_token()
    return {"Authorization": token}


def _send_signed(
    lake: Lake, repository: str, branch: str, key: str, file: io.BufferedIOBase, metadata: Mapping[str, str]
) -> int:
    """To the object store, at an address that the server signs; the SDK knows each cloud's way."""
    from lakefs.object import WriteableObject

    target = WriteableObject(repository, branch, key, lake.client)
    with target.writer("wb", pre_sign=True, content_type=_TYPE, metadata=dict(metadata)) as writer:
        shutil.copyfileobj(file, writer, 1 << 20)
        return int(writer.tell())


def check_size(path: str, sent: int, arrived: int) -> None:
    """Raises StoreError where the server took less or more than was sent."""
    if sent != arrived:
        raise StoreError(f"{path!r} arrived with {arrived} of {sent} bytes: the source changed meanwhile, upload it again")
