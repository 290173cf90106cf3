"""Where sources come from: files, the landing zone, buckets, lakes and databases."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
