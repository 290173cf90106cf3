"""A lake made ready for a use case, and what doctor says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deployments.commands.lake import command
from deployments.diagnostics.lakefs_checks import lake_findings
from deployments.lakefs_server.setup import init
from deployments.lakefs_server.webhook import create_app
from schemas.errors import PenstockError, ServiceUnavailable, StoreError, UsageError
from schemas.settings import Settings
from tasks.versions.lakefs.store import LakeFSStore
from tests.services.hook import hook_settings, served
from tests.services.server import Server, new_repository, started


@pytest.fixture
def url(lake: Server) -> str:
    """A repository that is there; the use case gets a prefix of it."""
    name = new_repository()
    lake.store(name).repository._make()
    return f"lakefs://{name}"


@pytest.fixture
def hook(url: str) -> Iterator[str]:
    with served(create_app(hook_settings(url))) as address:
        yield address


def statuses(settings: Settings, *, check: bool = False) -> list[str]:
    return [step.status for step in init(settings, "flights", check=check)]


def test_what_is_missing_is_made_once(url: str, hook: str) -> None:
    settings = hook_settings(url, lake_hook_url=hook)
    assert statuses(settings, check=True) == ["ok", "missing", "missing", "ok", "missing"]
    assert statuses(settings, check=True) == ["ok", "missing", "missing", "ok", "missing"]
    assert statuses(settings) == ["ok", "made", "made", "ok", "ok"]
    head = LakeFSStore(url).head()
    assert statuses(settings) == statuses(settings, check=True) == ["ok"] * 5
    assert LakeFSStore(url).head() == head
    assert LakeFSStore(url).branches() == ["main"]


def test_a_hook_that_moved_is_written_again(url: str, hook: str) -> None:
    init(hook_settings(url, lake_hook_url=hook), "flights", check=False)
    with served(create_app(hook_settings(url))) as moved:
        settings = hook_settings(url, lake_hook_url=moved)
        assert statuses(settings, check=True)[2] == "missing"
        assert statuses(settings)[2] == "made"
        assert statuses(settings, check=True)[2] == "ok"


def test_a_hook_that_does_not_answer_is_not_installed(url: str) -> None:
    settings = hook_settings(url, lake_hook_url="http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="start the hook's application"):
        init(settings, "flights", check=False)
    assert statuses(settings, check=True)[2] == "missing"


def test_a_hook_with_another_token_is_not_installed(url: str) -> None:
    other = create_app(hook_settings(url, lake_hook_token="another"))
    with served(other) as address, pytest.raises(PenstockError, match="401"):
        init(hook_settings(url, lake_hook_url=address), "flights", check=False)


def test_uncommitted_changes_of_main_are_seen_before_it_is_protected(lake: Server, url: str) -> None:
    lake.lake().client.sdk_client.objects_api.upload_object(url.removeprefix("lakefs://"), "main", "x", content=b"1")
    with pytest.raises(UsageError, match=r"uncommitted changes \(x\).*lakectl branch reset"):
        init(Settings(lake_url=url), "flights", check=False)


def test_a_lake_in_a_folder_needs_none_of_this(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is for lakeFS"):
        init(Settings(lake_url=tmp_path.as_uri()), "flights", check=True)
    assert lake_findings(Settings(lake_url=tmp_path.as_uri())) == []


def penstock(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(command, list(arguments), env=environment)


def test_the_command_says_what_is_missing() -> None:
    server = started()
    try:
        told = {**server.environment, "PENSTOCK_LAKE_URL": "lakefs://"}
        missing = penstock("init", "flights", "--check", "--json", **told)
        assert missing.exit_code == 1
        statuses = [step["status"] for step in json.loads(missing.output)]
        assert statuses == ["missing", "missing", "note", "missing", "missing"]
        made = penstock("init", "flights", **told)
        assert made.exit_code == 0, made.output
        assert "made    lakefs://flights repository" in made.output
        assert penstock("init", "flights", "--check", **told).exit_code == 0
        assert penstock("init", "nonsense", **told).exit_code == 2
        assert penstock("init", "flights", **{**told, "PENSTOCK_LAKE_URL": ""}).exit_code == 2
        repositories = server.lake().sdk.repositories_api.list_repositories().results
        assert [(found.id, found.storage_namespace) for found in repositories] == [
            ("flights", "local://flights"),
            ("flights-log", "local://flights-log"),
        ]
    finally:
        server.stop()
    assert penstock("init", "flights", **told).exit_code == 3


def findings(settings: Settings) -> dict[str, tuple[str, str]]:
    return {found.name: (found.status, found.detail) for found in lake_findings(settings)}


def test_doctor_says_who_we_are_and_what_is_missing(lake: Server, url: str, hook: str) -> None:
    name = f"{url}/flights"
    settings = hook_settings(url, lake_hook_url=hook)
    assert findings(settings)["lakeFS"] == ("ok", f"{lake.url} ({lake.lake().config.version_config.version}), as admin")
    assert findings(settings)[name][0] == findings(settings)[f"{name} hook"][0] == "wrong"
    init(settings, "flights", check=False)
    assert {status for status, _ in findings(settings).values()} == {"ok"}
    assert findings(Settings(lake_url=url))[f"{name} hook"][0] == "note"
    unsealed = Settings(lake_url=url, lake_hook_url=hook)
    assert "not sealed" in findings(unsealed)[f"{name} hook"][1]
    assert findings(hook_settings(url, lake_hook_url=f"{hook}/x"))[f"{name} hook"] == ("wrong", "is out of date")


def test_doctor_sees_a_lake_that_is_down_or_not_made(lake: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found.status for found in lake_findings(Settings(lake_url=f"lakefs://{new_repository()}"))] == ["ok", "note"]
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "wrong")
    (found,) = lake_findings(Settings(lake_url="lakefs://"))
    assert found.status == "wrong"
    assert "does not know these credentials" in found.detail
    assert found.mend


def test_protection_that_comes_late_still_comes(url: str) -> None:
    store = LakeFSStore(f"{url}/flights", Settings())
    store.branch("b")
    store.upload("b", "data/x", b"1")
    store.commit("b", "m", {})
    with pytest.raises(StoreError, match="not protected"):
        store.merge("b", "main", "m", {})
    init(Settings(lake_url=url), "flights", check=False)
    LakeFSStore(f"{url}/flights", Settings()).merge("b", "main", "m", {})
