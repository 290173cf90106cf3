"""From a file to a use case: what is written holds for its file and passes its own test; bad files write nothing."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from deployments.commands.new import command
from deployments.scaffold import sampling
from deployments.scaffold.draft import NewUseCaseOptions, draft
from deployments.scaffold.new_use_case import Drafted, new_use_case
from deployments.scaffold.render_module import module
from deployments.scaffold.render_test import source
from deployments.scaffold.sampling import read
from deployments.scaffold.trial_audit import loaded
from schemas.errors import UsageError
from tasks.parsing.parse import Limits
from tests.unit import scaffold_domains as domains

LIMITS = Limits(2048, 60)
PYTHON = Path(sys.executable)


def new(folder: Path, source: Path, target: str, name: str = "thing", **wishes: object) -> Drafted:
    return new_use_case(name, source, NewUseCaseOptions(target, **wishes), folder, LIMITS)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The module and the test of each domain, as one text."""
    folder = tmp_path_factory.mktemp("domains")
    texts = {}
    for name, (frame, file, target, _) in domains.DOMAINS.items():
        made = draft(name, file, read(domains.save(frame(), folder / file)), NewUseCaseOptions(target))
        texts[name] = module(made) + source(made, "")
        with loaded(module(made), made.constant, folder) as case:
            assert list(case.inputs[0].contract.dtypes()) == [column.name for column in made.columns]
    return texts


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gym-churn", '    member_id: str = column(str_matches="^M-[0-9]{6}$")'),
        ("gym-churn", "    # confirm: known before the outcome? later than snapshot_date in 472 rows"),
        ("gym-churn", '            "days_since_joined_on": days_since("joined_on"),'),
        ("gym-churn", '            "plan": pl.col("plan").cast(pl.Enum(PLAN), strict=False),'),
        ("gym-churn", '            partition=pl.col("snapshot_date").dt.strftime("%Y-%m"),'),
        ("routing", '    opened_at: Utc = column(alias="Opened At")'),
        ("routing", "        classes=QUEUE,"),
        ("houses", "    # no event time: rows are split by a hash of their key"),
        ("houses", '        "heating_cost": pl.col("heating_cost").cast(pl.Float32),'),
        ("houses", '            reader=Reader(missing=("NA",)),'),
        ("stations", '        value=pl.col("state") == "fault",'),
        ("stations", '        unique = ["date", "station"]'),
        ("stations", '        "station_feature": pl.col("station").cast(pl.Enum(STATION), strict=False),'),
        ("x1", "class X1Row(Contract):"),
        ("all-types", "    dec: Annotated[pl.Decimal, 38, 2] = column(ge=0, le=500)"),
        ("all-types", "    at: Utc = column()"),
    ],
)
def test_lines_that_a_person_would_have_written(modules: dict[str, str], name: str, line: str) -> None:
    assert line in modules[name].splitlines()


def test_no_value_that_names_a_person_is_copied(modules: dict[str, str]) -> None:
    rows, text = domains.members(), modules["gym-churn"]
    assert not [value for name in ("email", "comment") for value in rows[name].drop_nulls() if value in text]
    assert "private=True" in text


def test_features_and_target_see_all_of_the_file(tmp_path: Path) -> None:
    sample = read(domains.save(domains.houses(), tmp_path / "houses.csv"))
    made = draft("houses", "houses.csv", sample, NewUseCaseOptions("price"))
    with loaded(module(made), made.constant, tmp_path) as case:
        frame = domains.houses().with_columns(pl.col("heating_cost").cast(pl.Float64, strict=False))
        features = frame.select(**case.features)
        assert features["heating_cost"].null_count() == (domains.houses()["heating_cost"].cast(pl.String) == "NA").sum()
        assert features["class"].null_count() == 0
        assert frame.select(case.target.value).to_series().equals(frame["price"])


def plain(tmp_path: Path) -> Path:
    return domains.save(domains.plain(), tmp_path / "plain.csv")


def changed(column: str, value: pl.Expr) -> Callable[[Path], Path]:
    return lambda folder: domains.save(domains.plain().with_columns(value.alias(column)), folder / "changed.csv")


def raw(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


BAD: dict[str, tuple[Callable[[Path], Path], dict[str, object], str]] = {
    "no such file": (lambda folder: folder / "nope.csv", {}, "no such file"),
    "a folder": (lambda folder: folder, {}, "is a folder"),
    "empty": (raw("a.csv", b""), {}, "is empty"),
    "empty lines": (raw("a.jsonl", b"\n"), {}, "is empty"),
    "header only": (raw("a.csv", b"id,x,y\n"), {}, "holds no rows"),
    "one column": (raw("a.csv", b"y\n0\n1\n"), {}, "its only column"),
    "NUL": (raw("a.csv", b"id,y\n\0,0\n"), {}, "NUL"),
    "open quote": (raw("a.csv", b'id,y\n1,"0\n2,1\n'), {}, "never closed"),
    "half a gzip": (raw("a.csv.gz", gzip.compress(b"id,y\n1,0\n2,1\n")[:-9]), {}, "cannot be unpacked"),
    "no Parquet": (raw("a.parquet", b"PAR1 and then something else"), {}, "cannot be read"),
    "target missing": (plain, {"target": "z"}, "no such column"),
    "target constant": (changed("y", pl.lit(1)), {}, "holds only 1"),
    "target null": (changed("y", pl.lit(None)), {}, "is empty"),
    "key that is none": (plain, {"key": ("plan",)}, "name more columns"),
    "time that is none": (plain, {"time": "x"}, "reads as no date"),
    "kind that does not fit": (plain, {"target": "plan", "kind": "regression"}, "not numbers"),
    "no feature": (raw("a.csv", b"id,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(50))), {}, "can be a feature"),
    "bad name": (plain, {"name": "Churn"}, "lower case"),
    "name of a keyword": (plain, {"name": "class"}, "Python's own"),
    "name of a module": (plain, {"name": "json"}, "Python's or Penstock's own"),
    "name of a package": (plain, {"name": "polars"}, "is there already"),
    "registered name": (plain, {"name": "flights"}, "registered already"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path: Path, case: str) -> None:
    make, wishes, says = BAD[case]
    folder = tmp_path / "work"
    folder.mkdir()
    asked = {"target": "y", "name": "thing", **wishes}
    with pytest.raises(UsageError, match=says) as refusal:
        new(folder, make(tmp_path), str(asked.pop("target")), str(asked.pop("name")), **asked)
    assert "\n" not in str(refusal.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "rejected", "note"),
    [
        (pl.when(pl.col("id") == 1).then(0).otherwise("id").alias("id"), 2, "2 of 400 rows share their key"),
        (pl.when(pl.col("id") < 3).then(None).otherwise("id").alias("id"), 3, "3 of 400 rows share their key"),
        (pl.when(pl.col("id") < 4).then(float("inf")).otherwise("x").alias("x"), 4, "4 values are NaN or infinite"),
    ],
)
def test_rows_that_break_are_told_and_rejected(tmp_path: Path, change: pl.Expr, rejected: int, note: str) -> None:
    result = new(tmp_path, domains.save(domains.plain().with_columns(change), tmp_path / "a.csv"), "y")
    assert (result.audit.accepted, result.audit.rejected) == (400 - rejected, rejected)
    assert any(note in text for text in result.notes)


def test_five_hundred_columns(tmp_path: Path) -> None:
    wide = domains.plain().with_columns(pl.Series(f"c{i}", range(400)) * 1.5 for i in range(500))
    made = draft("wide", "wide.csv", read(domains.save(wide, tmp_path / "wide.csv")), NewUseCaseOptions("y"))
    with loaded(module(made), made.constant, tmp_path) as case:
        assert case.inputs[0].contract.dtypes() == dict(wide.schema)
        assert wide.select(**case.features).width == 502


@pytest.mark.parametrize("file", ["a.csv", "a.jsonl", "a.parquet"])
def test_of_a_long_file_the_first_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setattr(sampling, "MAX_ROWS", 300)
    result = new(tmp_path, domains.save(domains.plain(), tmp_path / file), "y")
    assert result.audit.rows == 300
    assert any("only the first 300 rows" in note for note in result.notes)


def test_what_is_there_is_overwritten_only_on_request(tmp_path: Path) -> None:
    source = plain(tmp_path)
    (tmp_path / "thing.py").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        new(tmp_path, source, "y")
    assert (tmp_path / "thing.py").read_text() == "mine"
    new_use_case("thing", source, NewUseCaseOptions("y"), tmp_path, LIMITS, force=True)
    assert "class Thing(Contract)" in (tmp_path / "thing.py").read_text()


@pytest.mark.parametrize(("target", "code"), [("y", 0), ("nope", 2)])
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, code: int) -> None:
    monkeypatch.chdir(tmp_path)
    plain(tmp_path)
    result = CliRunner().invoke(command, ["thing", "--from", "plain.csv", "--target", target, "--json"])
    assert result.exit_code == code
    if code == 0:
        assert json.loads(result.stdout)["target"] == "thing:THING"
    else:
        assert result.stderr.startswith("penstock: --target nope")
        assert len(result.stderr.splitlines()) == 1


def test_the_command_tells_a_person_what_to_confirm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    domains.save(domains.members(), tmp_path / "members.csv")
    said = CliRunner().invoke(command, ["gym-churn", "--from", "members.csv", "--target", "churned"]).stdout
    assert "1,200 rows = 1,200 accepted + 0 rejected" in said
    assert "cancelled_on: known before the outcome? later than snapshot_date" in said
    assert said.endswith("wrote gym_churn.py, test_gym_churn.py\nnext: penstock lifecycle gym-churn members.csv\n")
