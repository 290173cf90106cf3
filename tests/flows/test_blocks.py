"""Credentials in the Prefect dashboard."""

import asyncio
import os

import pytest
from prefect.utilities.templating import resolve_block_document_references

from tasks.orchestration.credentials import LakeFSCredentials

BLOCK = LakeFSCredentials(
    endpoint_url="http://127.0.0.1:8000", access_key_id="AKIA", secret_access_key="secret", signing_key="key"
)


def test_a_deployment_gets_the_credentials_as_variables() -> None:
    BLOCK.save("lake", overwrite=True)
    start = "{{ prefect.blocks.lakefs-credentials.lake."
    template = {
        "URL": f"{start}endpoint_url }}}}",
        "SECRET": f"{start}secret_access_key }}}}",
        "KEY": f"{start}signing_key }}}}",
    }

    assert asyncio.run(resolve_block_document_references(template)) == {
        "URL": "http://127.0.0.1:8000",
        "SECRET": "secret",
        "KEY": "key",
    }
    assert LakeFSCredentials.load("lake").environment() == BLOCK.environment()


def test_credentials_are_in_force_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", raising=False)
    with BLOCK.active():
        assert BLOCK.environment().items() <= os.environ.items()
    assert os.environ["LAKECTL_SERVER_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY" not in os.environ


def test_secrets_are_not_shown() -> None:
    assert "secret'" not in repr(BLOCK)
    assert "='key'" not in repr(BLOCK)
