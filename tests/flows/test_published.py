"""What follows from a commit that others brought to the lake: the loop goes on from there."""

from pathlib import Path

from flows.ingest import ingest
from flows.lifecycle import lifecycle
from schemas.settings import Settings
from tests.serving_kit import flights_of_january


def test_the_loop_goes_on_from_a_commit(settings: Settings) -> None:
    commits = {}
    for name, rows in flights_of_january(4).items():
        if name != "labels":
            commits[name] = ingest("flights", rows, input=name).deliveries[0].commit
    weather = lifecycle("flights", published=commits["weather"], input="weather")
    assert (weather.ingested.deliveries, weather.trained, weather.status) == ((), (), "done")
    flights = lifecycle("flights", published=commits["flights"], input="flights")
    assert [training.status for training in flights.trained] == ["skipped"]
    assert "no labelled rows" in flights.why


def test_a_file_goes_the_same_way(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "weather-x.parquet"
    flights_of_january(2)["weather"].write_parquet(path)
    assert lifecycle("flights", str(path)).status == "done"
    again = lifecycle("flights", str(path))
    assert (again.status, again.why[:12]) == ("already done", "already done")
