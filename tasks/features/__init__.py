"""Columns made of rows: features, keys, row order, splits and profiles. Training, batch and online scoring share them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
