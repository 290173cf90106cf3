"""How results show themselves: one line at a prompt, a table in a notebook, and nothing of a file's that is HTML there."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from flows.score import ScoreResult
from flows.train import TrainResult
from schemas import replaying, results
from schemas.refs import DataRef, ModelRef
from schemas.results import Delivery, IngestResult, Loop, Scores
from schemas.verdicts import Evaluation

MODEL = ModelRef(registry="sqlite:///x", name="churn", version=3, sha256="ab" * 32, run_id="r")
DATA = DataRef(store="file:///x", commit="c0ffee")
DELIVERY = Delivery(source="<b>a.csv", sha256="5", input="members", status="published", why="3 of 3 rows & more")
TRAINED = TrainResult(
    use_case="churn",
    status="promoted",
    why="log_loss 0.46 against the baseline's 0.65",
    model=MODEL,
    evaluation=Evaluation(model_sha256="a", data_commit="c", rows=3, blocks=2, metrics={"auc": 0.81234, "log_loss": 0.46}),
)
SCORED = ScoreResult(
    use_case="churn",
    status="published",
    why="3 rows scored",
    model=MODEL,
    rows=1234,
    categories={"stays <b>": 1000, "churns": 234},
    rejected="rejected-predictions/x/",
    predictions=DATA,
)


class Cells(HTMLParser):
    """The texts of a table's cells, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag in ("th", "td"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] += data

    @property
    def facts(self) -> dict[str, str]:
        return dict(zip(self.texts[::2], self.texts[1::2], strict=True))


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (TRAINED, "<TrainResult churn promoted: log_loss 0.46 against the baseline's 0.65>"),
        (SCORED, "<ScoreResult churn published: 3 rows scored>"),
        (DELIVERY, "<Delivery published: 3 of 3 rows & more>"),
        (IngestResult(use_case="churn", deliveries=(DELIVERY,)), "<IngestResult churn: published: 3 of 3 rows & more>"),
        (results.Rescan(files=2), "<Rescan: 2 files: 0 started, 0 runs taken up again>"),
    ],
)
def test_a_result_is_one_line_at_a_prompt(result: object, line: str) -> None:
    assert repr(result) == str(result) == line


def test_a_notebook_shows_what_a_training_and_a_scoring_came_to() -> None:
    assert Cells(TRAINED._repr_html_()).facts == {
        "status": "promoted",
        "model": "churn v3",
        "metrics": "auc 0.8123, log_loss 0.46",
    }
    assert Cells(SCORED._repr_html_()).facts == {
        "status": "published",
        "model": "churn v3",
        "rows": "1,234",
        "categories": "stays <b> 1,000, churns 234",
    }


def test_what_a_file_is_called_is_text_and_no_html() -> None:
    ingested = IngestResult(use_case="churn", deliveries=(DELIVERY,))
    html = ingested._repr_html_()
    shown = Cells(html)
    assert shown.tags == {"div", "b", "table", "tr", "th", "td"}
    assert html.count("<b>") == 1
    assert shown.facts["deliveries"] == "<b>a.csv published 3 of 3 rows & more"
    loop = Loop(use_case="churn", why="done", ingested=ingested, trained=(TRAINED,))
    assert Cells(loop._repr_html_()).facts["trained"] == "promoted log_loss 0.46 against the baseline's 0.65"


def test_a_long_list_is_cut_and_says_so() -> None:
    many = IngestResult(use_case="churn", deliveries=(DELIVERY,) * 25)
    assert Cells(many._repr_html_()).texts[-1] == "and 5 more"
    assert len(re.findall("<tr>", many._repr_html_())) == 2 + 20 + 1


def test_a_replay_shows_itself_too() -> None:
    since = datetime(2024, 1, 1, tzinfo=UTC)
    replay = replaying.Replay(
        use_case="churn", why="better", metric="auc", judged_from=since, steps=(), courses=(), seconds=1.0
    )
    assert repr(replay) == "<Replay churn: better>"
    assert "better" in replay._repr_html_()


def test_the_fields_are_there_as_before() -> None:
    again = Scores.model_validate_json(Scores(**dict(SCORED)).model_dump_json())
    assert again == Scores(**dict(SCORED))
