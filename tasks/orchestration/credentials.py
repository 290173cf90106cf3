"""Credentials kept in the Prefect dashboard, for those who do not keep them in the environment of their workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class LakeFSCredentials(Block):
    """Where a lakeFS server is, and who we are there.

    A deployment takes them as environment variables of its runs, which the worker fills in:
    `{{ prefect.blocks.lakefs-credentials.<name>.secret_access_key }}`; docs/lakefs.md shows all of it.
    """

    _block_type_name = "lakeFS Credentials"
    _block_type_slug = "lakefs-credentials"
    _description = "Endpoint and access keys of a lakeFS server, and the key that signs Penstock's merges there."

    endpoint_url: str = Field(description="URL of the server, for example https://lake.example.com")
    access_key_id: str = Field(description="Access key id")
    secret_access_key: SecretStr = Field(description="Secret access key")
    signing_key: SecretStr | None = Field(default=None, description="Signs merges for the lake's hook")

    def environment(self) -> dict[str, str]:
        """The same as lakeFS's and Penstock's own variables."""
        variables = {
            "LAKECTL_SERVER_ENDPOINT_URL": self.endpoint_url,
            "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": self.access_key_id,
            "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": self.secret_access_key.get_secret_value(),
        }
        key = {"PENSTOCK_LAKE_SIGNING_KEY": self.signing_key.get_secret_value()} if self.signing_key else {}
        return {**variables, **key}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Put them in force for the block, in this process: `with LakeFSCredentials.load("lake").active(): ...`."""
        ours = self.environment()
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def notify(reference: str, title: str, body: str) -> None:
    """Send a message through a notification block of Prefect.

    Args:
        reference: The block as `<block type>/<name>`.
        title: Subject of the message.
        body: Its text.

    Raises:
        ValueError: There is no such block.
    """
    block: Any = Block.load(reference)
    block.notify(body, subject=title)
