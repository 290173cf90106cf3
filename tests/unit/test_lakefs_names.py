"""How names, metadata and seals are written for lakeFS; no server needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.refs import Guard
from schemas.settings import Settings
from tasks.versions.lakefs import names, signatures
from tasks.versions.lakefs.names import Place
from tasks.versions.names import is_name

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    "url", ["lakefs://", "lakefs://ab", "lakefs://Upper", "lakefs://a_b", "lakefs://abc/../x", "lakefs:x"]
)
def test_a_url_that_names_no_repository_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="lakefs://<repository>"):
        names.parse(url)


@pytest.mark.parametrize(
    ("lake_url", "place"),
    [
        ("lakefs://", Place("flights")),
        ("lakefs://shared", Place("shared", "flights")),
        ("lakefs://shared/team-a", Place("shared", "team-a/flights")),
    ],
)
def test_a_lake_url_gives_each_use_case_a_place(lake_url: str, place: Place) -> None:
    assert names.parse(Settings(lake_url=lake_url).store_url("flights")) == place


@examples(deadline=None)
@given(st.from_regex(r"[a-z0-9_.-]{1,8}(/[a-z0-9_.-]{1,8}){0,2}", fullmatch=True))
def test_a_name_comes_back_as_it_was_or_is_refused(name: str) -> None:
    for place in (Place("shared"), Place("shared", "team.a/flights")):
        if is_name(name):
            try:
                assert place.own(place.name(name)) == name
            except UsageError as refused:
                assert "-" in name, refused  # noqa: PT017


@examples(deadline=None)
@given(st.dictionaries(TEXT.filter(bool), TEXT))
def test_an_objects_metadata_comes_back_as_it_was(metadata: dict[str, str]) -> None:
    sent = names.object_metadata(metadata)
    assert all(key.isascii() and value.isascii() and key == key.lower() for key, value in sent.items())
    assert all(value.isprintable() for value in sent.values())
    assert names.read_object_metadata(sent) == metadata


GUARD = Guard(commit="c" * 64, prefixes=("data/labels/2013-01/",))
TOLD: dict[str, Any] = {
    "repository": "lakefs://x", "into": "main", "source": "s" * 64, "brings": "b" * 64, "contract": "1", "guard": GUARD
}  # fmt: skip
DIFFERENT: list[dict[str, Any]] = [
    {"repository": "lakefs://y"}, {"into": "other"}, {"source": "t" * 64}, {"brings": "c" * 64}, {"contract": "2"},
    {"guard": Guard(commit="d" * 64, prefixes=GUARD.prefixes)}, {"guard": Guard(commit=GUARD.commit, prefixes=("data/",))},
]  # fmt: skip


def test_a_seal_holds_for_what_was_signed() -> None:
    document = signatures.merge_document(**TOLD)
    assert signatures.holds("key", document, signatures.sign("key", document))
    assert not signatures.holds("another", document, signatures.sign("key", document))


@pytest.mark.parametrize("different", DIFFERENT, ids=lambda told: next(iter(told)))
def test_a_seal_holds_for_nothing_else(different: dict[str, Any]) -> None:
    signature = signatures.sign("key", signatures.merge_document(**TOLD))
    assert not signatures.holds("key", signatures.merge_document(**{**TOLD, **different}), signature)


def test_a_seal_of_a_merge_is_none_of_a_revert() -> None:
    revert = signatures.revert_document("lakefs://x", "main", "s" * 64, "c" * 64)
    assert not signatures.holds("key", revert, signatures.sign("key", signatures.merge_document(**TOLD)))


@examples(deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT)))
def test_the_digest_depends_on_every_change_and_on_no_order(changes: list[tuple[str, str, str]]) -> None:
    digest = signatures.digest(changes)
    assert signatures.digest(reversed(changes)) == digest
    assert signatures.digest([*changes, ("added", "one", "more")]) != digest


def test_a_guard_travels_in_metadata() -> None:
    assert signatures.read_guard(signatures.guard_metadata(GUARD)) == GUARD


@pytest.mark.parametrize("guarded", [{}, {"guarded": "x"}, {"guarded": "[1]"}, {"guarded": "5"}], ids=str)
def test_metadata_without_a_guard_gives_none(guarded: dict[str, str]) -> None:
    assert signatures.read_guard({"checked_at": "c" * 64, **guarded}) is None
