import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.settings import Settings, in_force, read_settings


def test_everything_lies_under_the_home_unless_told_otherwise(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.store_url("flights") == f"{(tmp_path / 'lake').as_uri()}/flights"
    assert settings.registry_url == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert settings.landing_dir.parent == settings.reports_dir.parent == tmp_path


@pytest.mark.parametrize(
    ("lake", "url"),
    [("file:///data/lake", "file:///data/lake/flights"), ("file:///data/lake/", "file:///data/lake/flights")],
)
def test_a_lake_elsewhere_holds_one_repository_a_use_case(lake: str, url: str) -> None:
    assert Settings(lake_url=lake).store_url("flights") == url


def test_mlflows_own_variable_counts_but_ours_beats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs:5000")
    assert read_settings().registry_url == "http://theirs:5000"
    monkeypatch.setenv("PENSTOCK_MLFLOW_URL", "http://ours:5000")
    assert read_settings().registry_url == "http://ours:5000"


def test_a_bad_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PARSE_MEMORY_MB", "plenty")
    with pytest.raises(UsageError, match=r"parse_memory_mb.*PENSTOCK_<NAME>") as caught:
        read_settings()
    assert "\n" not in str(caught.value)


def test_settings_in_force_are_those_of_the_innermost_block(tmp_path: Path) -> None:
    with Settings(home=tmp_path / "a").active():
        with Settings(home=tmp_path / "b").active():
            assert in_force().home == tmp_path / "b"
        assert in_force().home == tmp_path / "a"


def test_a_secret_shows_in_no_text() -> None:
    settings = Settings(api_token="hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump_json()}"


def test_importing_the_schemas_reads_no_environment() -> None:
    program = (
        "import os\nseen = []\nget = os.environ.__class__.__getitem__\n"
        "os.environ.__class__.__getitem__ = lambda self, key: (seen.append(key), get(self, key))[1]\n"
        "import schemas.settings, schemas.errors, schemas.refs, schemas.verdicts\n"
        "print([key for key in seen if key.startswith('PENSTOCK')])"
    )
    environment = {**os.environ, "PENSTOCK_HOME": "/nowhere"}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[]"
