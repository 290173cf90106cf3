"""What a change of a use case's code does, stage by stage."""

from __future__ import annotations

from pydantic import Field

from schemas.refs import Value


class Stage(Value):
    """One stage of a change: what happens there, and whether that breaks something."""

    name: str = Field(description="contract, rows, champion, columns, training")
    what: str = Field(description="one sentence")
    changes: bool = Field(description="whether anything happens at all")
    breaks: bool = Field(default=False, description="whether rows would fail, or a living version could not be used")


class ChangePlan(Value):
    """What the code as it is would do to what is published and to the champion."""

    use_case: str
    why: str = Field(description="one sentence")
    stages: tuple[Stage, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether a stage breaks something."""
        return any(stage.breaks for stage in self.stages)
