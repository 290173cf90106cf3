"""A row's key as text and as a hash, and its columns as a receipt may hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from schemas.row_key import ROW_VALUE
from schemas.usecase import UseCase


def key_text(use_case: UseCase) -> pl.Expr:
    """The row's key as one string; times as whole numbers, so that no library's formatting enters it.

    Args:
        use_case: The use case.

    Returns:
        An expression of String; the parts are joined by ASCII's unit separator.
    """
    dtypes = use_case.input(use_case.rows).contract.dtypes()
    parts = [pl.col(name).to_physical() if dtypes[name].is_temporal() else pl.col(name) for name in use_case.key]
    return pl.concat_str([part.cast(pl.String) for part in parts], separator="\x1f")


def key_hash(use_case: UseCase) -> pl.Expr:
    """64 bits of the key's BLAKE2b hash: the same in every process and library version.

    Args:
        use_case: The use case.

    Returns:
        An expression of UInt64.
    """
    return key_text(use_case).map_batches(_hash, return_dtype=pl.UInt64, is_elementwise=True)


def group_hash(use_case: UseCase) -> pl.Expr:
    """64 bits of a hash by which rows are split and sampled: those of the key, but for the occurrence of a row's value.

    So rows that say the same never fall on both sides of a split.

    Args:
        use_case: The use case.

    Returns:
        An expression of UInt64.
    """
    if not use_case.input(use_case.rows).by_row:
        return key_hash(use_case)
    return pl.col(ROW_VALUE).map_batches(_hash, return_dtype=pl.UInt64, is_elementwise=True)


def receipt_inputs(use_case: UseCase, names: Sequence[str]) -> pl.Expr:
    """These columns of the rows as a receipt may hold them, as the struct `inputs`: private ones hashed or left out.

    Args:
        use_case: The use case.
        names: Columns of the rows.

    Returns:
        An expression of a struct called `inputs`.
    """
    contract = use_case.input(use_case.rows).contract
    hashed = contract.hashed()
    shown = [name for name in names if name not in contract.private() or name in hashed]
    return pl.struct(_pseudonym(name) if name in hashed else pl.col(name) for name in shown).alias("inputs")


def _pseudonym(name: str) -> pl.Expr:
    """64 bits of a hash of each value, in hexadecimal; null stays null."""
    text = pl.col(name).to_physical().cast(pl.String)
    hashed = text.map_batches(_hashed_text, return_dtype=pl.String, is_elementwise=True)
    return hashed.alias(name)


def _hashed_text(texts: pl.Series) -> pl.Series:
    digests = [None if text is None else hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in texts]
    return pl.Series(digests, dtype=pl.String)


def _hash(keys: pl.Series) -> pl.Series:
    blake = hashlib.blake2b
    digests = b"".join([blake(key.encode(), digest_size=8).digest() for key in keys])
    return pl.Series(np.frombuffer(digests, dtype="<u8"))
