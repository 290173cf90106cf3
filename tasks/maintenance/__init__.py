"""What is removed after its time: receipts, and branches that nobody goes on with."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
