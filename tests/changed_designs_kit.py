"""The orders of `training_kit.CHANGING` as their code may be changed later."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from schemas.contract import Contract, column
from schemas.usecase import UseCase
from tests.modelling_kit import Orders, Utc


class Sizeless(Contract):
    """Orders whose size is asked for no more."""

    at: Utc = column()
    shop: str = column()
    number: int = column()
    colour: str = column(nullable=True)

    class Config:
        unique = ["at", "shop", "number"]


class Longer(Orders):
    """Orders with a weight."""

    weight: float = column(nullable=True)


def with_input(case: UseCase, name: str, **changes: object) -> UseCase:
    """The use case with one of its inputs declared otherwise."""
    return replace(case, inputs=tuple(replace(each, **changes) if each.name == name else each for each in case.inputs))


def with_features(case: UseCase, **features: pl.Expr) -> UseCase:
    """The use case with features more, or others of the same name."""
    return replace(case, features={**case.features, **features})


def without(case: UseCase, *names: str) -> UseCase:
    """The use case with features less."""
    return replace(case, features={name: each for name, each in case.features.items() if name not in names})
