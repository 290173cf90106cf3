"""Alerts: which there are, which are open, and the channels that they go to."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
