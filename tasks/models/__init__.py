"""Models as bytes: loaded, tried out in a child process, scored, calibrated and explained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
