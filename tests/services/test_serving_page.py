"""The page at / in a real browser: it asks for the token, shows the champion, and tries a prediction."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from schemas.usecases.flights import FLIGHTS
from tests.serving_kit import TOKEN, Running


@pytest.fixture
def page(browser: Browser, server: Running) -> Iterator[Page]:
    opened = browser.new_page()
    complaints: list[str] = []
    elsewhere: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: elsewhere.append(request.url) if not request.url.startswith(server.url) else None)
    opened.goto(server.url)
    yield opened
    opened.close()
    assert complaints == []
    assert elsewhere == []


def enter(page: Page, token: str) -> None:
    page.get_by_label("Bearer token").fill(token)
    page.get_by_role("button", name="Open").click()


def test_the_page_asks_for_the_token_and_shows_nothing_before(page: Page) -> None:
    expect(page.get_by_role("heading", name="Champion")).to_be_hidden()
    enter(page, "a wrong token")
    expect(page.get_by_role("alert")).to_contain_text("a bearer token is needed")
    expect(page.get_by_role("heading", name="Champion")).to_be_hidden()


def test_a_prediction_is_tried_on_a_form_made_from_the_contract(page: Page) -> None:
    enter(page, TOKEN)
    expect(page.get_by_role("heading", level=1)).to_have_text("Will the flight arrive more than 15 minutes late?")
    expect(page.locator("#card")).to_contain_text("flights v1")
    expect(page.locator("#card")).to_contain_text("Let througha test wants it")  # a person's reason, and what the gate said
    expect(page.locator("#card")).to_contain_text("Gatepromoted by a test")
    assert page.locator("#field-origin option").all_inner_texts() == ["EWR", "JFK", "LGA"]
    expect(page.locator("#field-month")).to_have_attribute("type", "number")
    assert page.locator("#field-arr_delay").count() == 0
    page.locator("#field-dest").fill("ATL")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#category")).to_have_text("on time")
    expect(page.locator("#sentence")).to_contain_text("the probability of 'late' is 0.")
    expect(page.locator("#told")).to_contain_text("Probability of late0.")
    expect(page.locator("#told")).to_contain_text("Prediction id")
    expect(page.locator("#answer")).to_be_in_viewport()
    assert page.locator("#parts tr").count() == len(FLIGHTS.features)


def test_a_wrong_value_is_marked_and_explained(page: Page) -> None:
    enter(page, TOKEN)
    page.locator("#row-form").evaluate("form => { form.noValidate = true; }")
    page.locator("#field-month").fill("13")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("integer from 1 to 12")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    expect(page.locator("#field-month")).to_have_class("wrong")
    expect(page.get_by_role("heading", name="Answer")).to_be_hidden()
