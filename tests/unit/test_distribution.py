"""Where the installed distribution came from, as a project's dependency may name it, and what an extra consists of."""

import json
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from deployments.scaffold import project
from schemas import distribution

OURS = "[console_scripts]\npenstock = deployments.cli:main\n"
FOREIGN = "[console_scripts]\npenstock = penstock.app:main\n"
METADATA = """Metadata-Version: 2.4
Name: penstock-ml
Version: 7.1
Provides-Extra: up
Requires-Dist: polars<3,>=2.1
Requires-Dist: circus>=0.19; extra == 'up'
Requires-Dist: watchfiles>=1.1; (sys_platform == "linux") and extra == "up"
"""


def installed(folder: Path, origin: object = None, scripts: str = OURS) -> Distribution:
    made = folder / "penstock_ml-7.1.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(METADATA)
    (made / "entry_points.txt").write_text(scripts)
    if origin is not None:
        (made / "direct_url.json").write_text(json.dumps(origin))
    return Distribution.at(made)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Code that lies in no checkout: a folder without a manifest."""
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(distribution, "_source_folder", lambda: tmp_path / "site")
    return tmp_path


def test_a_checkout_is_named_by_its_folder() -> None:
    root = Path(__file__).parents[2]
    assert distribution.direct_reference() == f"penstock-ml @ {root.as_uri()}"
    assert distribution.direct_reference("serve", "up") == f"penstock-ml[serve,up] @ {root.as_uri()}"


@pytest.mark.parametrize(
    ("origin", "reference"),
    [
        (
            {"url": "https://x.org/p.git", "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}},
            "git+https://x.org/p.git@abc",
        ),
        (
            {"url": "https://x.org/p.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "py"},
            "git+https://x.org/p.git@abc#subdirectory=py",
        ),
        ({"url": "https://x.org/p.whl", "archive_info": {"hashes": {"sha256": "12"}}}, "https://x.org/p.whl#sha256=12"),
        ({"url": "file:///no/such/penstock_ml-7.1-py3-none-any.whl", "archive_info": {}}, None),
        (None, None),
    ],
)
def test_an_installation_is_named_by_its_origin(
    apart: Path, monkeypatch: pytest.MonkeyPatch, origin: object, reference: str | None
) -> None:
    found = installed(apart, origin)
    monkeypatch.setattr(distribution, "distribution", lambda _: found)
    assert distribution.direct_reference() == (reference and f"penstock-ml @ {reference}")
    assert distribution.own_version() == "7.1"
    assert (project.requirement_note() is None) == (reference is not None)
    wanted = f"penstock-ml[serve,up] @ {reference}" if reference else "penstock-ml[serve,up]"
    assert project.requirement() == wanted


def test_a_wheel_that_is_still_there_is_named(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = apart / "with a blank" / "penstock_ml-7.1-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    found = installed(apart, {"url": wheel.as_uri(), "archive_info": {"hashes": {"sha256": "12"}}})
    monkeypatch.setattr(distribution, "distribution", lambda _: found)
    assert distribution.direct_reference() == f"penstock-ml @ {wheel.as_uri()}#sha256=12"


def test_a_strangers_distribution_of_our_old_name_is_not_ours(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(apart, {"url": "https://x.org/p.whl", "archive_info": {}}, FOREIGN)
    monkeypatch.setattr(distribution, "distribution", lambda _: found)
    assert distribution.own_distribution() is None
    assert distribution.direct_reference() is None
    assert distribution.own_version() == "unknown"


def test_an_extra_is_installed_by_its_packages(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(apart)
    monkeypatch.setattr(distribution, "distribution", lambda _: found)
    assert distribution.install_command("up") == "pip install 'circus>=0.19' 'watchfiles>=1.1'"
    assert distribution.install_command("gone") == "pip install 'penstock-ml[gone]'"


def test_the_checkout_says_its_version_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "own_distribution", lambda: None)
    assert distribution.own_version() not in ("", "unknown")
