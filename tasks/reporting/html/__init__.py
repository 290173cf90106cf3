"""The report of a use case: one HTML page that tells its story to somebody who was not there."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
