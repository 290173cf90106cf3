"""The history of a use case: each move of its champion, and when moving was forbidden. Each entry names the one before."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import AliasChoices, Field

from schemas.refs import ModelRef, Sha256, Value

MoveKind = Literal["promoted", "override", "rollback", "found", "freeze", "thaw"]


class ChampionState(Value):
    """A version as the history names it."""

    version: int = Field(ge=1)
    sha256: Sha256 = Field(description="of the model's bytes")

    @classmethod
    def of(cls, ref: ModelRef | None) -> ChampionState | None:
        """The side a reference stands for."""
        return None if ref is None else cls(version=ref.version, sha256=ref.sha256)


class Move(Value):
    """What happened: the champion's alias moved, or was forbidden or allowed to move. JSON calls the sides `from` and `to`.

    promoted: by the gate; override: by a person against it; rollback: by a person, back; found: the alias was seen to name
    another version than the last entry, and nothing that Penstock did explains it; freeze and thaw leave it where it is.
    """

    kind: MoveKind
    when: datetime
    who: str = Field(description="a flow run or a person")
    why: str
    before: ChampionState | None = Field(validation_alias=AliasChoices("from", "before"), serialization_alias="from")
    after: ChampionState | None = Field(validation_alias=AliasChoices("to", "after"), serialization_alias="to")
    evidence: Sha256 | None = Field(default=None, description="of the verdict stored with the version")


class Entry(Move):
    """A move as the history holds it."""

    format_version: Literal[1] = 1
    number: int = Field(ge=1)
    previous: Sha256 | None = Field(description="of the entry before, as it is stored; none for the first")

    @property
    def move(self) -> Move:
        """What happened, without its place in the history."""
        return Move(**{name: getattr(self, name) for name in Move.model_fields})


class HistoryEntry(NamedTuple):
    """An entry and the hash of its stored bytes, which the next entry names."""

    entry: Entry
    sha256: Sha256
