"""How a model is fitted: values that flows and tasks share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.refs import Value

Device = Literal["cpu", "cuda"]
Engine = Literal["memory", "external", "dask"]


class Plan(Value):
    """How one training goes about it. Nothing here changes what a model is worth, but for the search."""

    device: Device = Field(default="cpu", description="where XGBoost computes")
    engine: Engine = Field(default="memory", description="where the rows lie meanwhile")
    trials: int = Field(default=0, ge=0, description="of a search for parameters; 0: none")
    jobs: int = Field(default=1, ge=1, description="trials that run at once")
