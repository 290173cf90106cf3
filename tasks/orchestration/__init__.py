"""What our flows share of Prefect: how a flow is entered, its runs, events, locks, queueing and credentials."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
