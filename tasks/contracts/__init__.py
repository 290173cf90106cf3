"""Data contracts: a Pandera model compiled to one scan, rows accepted and rejected, versions compared."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
