"""How a stored model predicts for those who load it with MLflow alone.

A copy of this file is stored beside each model and runs where Penstock is not installed: it needs pandas and xgboost only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL = "model.ubj"
WORDS = "words.json"


class Predictor:
    """A booster with the words of its business: feature names, categories, classes, threshold."""

    def __init__(self, folder: Path) -> None:
        import xgboost

        self.words = json.loads((folder / WORDS).read_text("utf-8"))
        self.booster = xgboost.Booster(model_file=str(folder / MODEL))

    def predict(self, frame: Any, params: Any = None) -> Any:
        """A pandas frame with the row order and index of `frame`, a pandas frame of features in any order.

        binary: `category`, and `probability` of the second class; multiclass: `category`, `probability_<class>` each;
        regression: `prediction`. A category the model does not know counts as missing.
        """
        import xgboost

        matrix = xgboost.DMatrix(self._features(frame), enable_categorical=True)
        return self._business(self.booster.predict(matrix).astype("float64"), frame.index)

    def _features(self, frame: Any) -> Any:
        import pandas  # type: ignore[import-untyped]

        names = self.booster.feature_names or list(frame.columns)
        columns = self.words["columns"] or [{"name": name, "categories": None} for name in names]
        if missing := [column["name"] for column in columns if column["name"] not in frame]:
            raise ValueError(f"the frame lacks the feature(s) {', '.join(missing)}")
        typed = {column["name"]: _typed(frame[column["name"]], column["categories"]) for column in columns}
        return pandas.DataFrame(typed)

    def _business(self, scores: Any, index: Any) -> Any:
        import pandas

        classes = self.words["classes"]
        if self.words["kind"] == "regression":
            return pandas.DataFrame({"prediction": scores}, index=index)
        if self.words["kind"] == "binary":
            chosen = [classes[int(score >= self.words["threshold"])] for score in scores]
            return pandas.DataFrame({"category": chosen, "probability": scores}, index=index)
        chosen = [classes[int(best)] for best in scores.argmax(axis=1)]
        each = {f"probability_{name}": scores[:, i] for i, name in enumerate(classes)}
        return pandas.DataFrame({"category": chosen, **each}, index=index)


def _typed(values: Any, categories: list[str] | None) -> Any:
    import pandas

    if categories is None:
        return values.astype("float64")
    text = values.astype(object)
    return text.where(text.isin(categories), None).astype(pandas.CategoricalDtype(categories))


def _load_pyfunc(folder: str) -> Predictor:
    """What MLflow calls."""
    return Predictor(Path(folder))
