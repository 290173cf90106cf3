"""A promotion that Prefect tells of is followed at once."""

import threading

from prefect.events import emit_event

from deployments.serving.promotion_listener import EVENT, Listener
from tests.serving_kit import wait_for


def test_a_promotion_of_the_use_case_wakes_the_follower() -> None:
    woken = threading.Event()
    listener = Listener("flights", woken.set)
    listener.start()
    try:
        wait_for(listener.listening.is_set)
        emit_event(EVENT, resource={"prefect.resource.id": "penstock.use-case.others"})
        emit_event("penstock.model.refused", resource={"prefect.resource.id": "penstock.use-case.flights"})
        assert not woken.wait(3)
        emit_event(EVENT, resource={"prefect.resource.id": "penstock.use-case.flights"}, payload={"version": 2})
        wait_for(woken.is_set)
    finally:
        listener.stop()
        listener.join(30)
    assert not listener.is_alive()
