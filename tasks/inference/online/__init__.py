"""One row at a time: contract, lookups and features of a use case without a frame, bit-equal to polars."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
