"""Who is champion and how that came to be: the one place where its alias moves, and the history of the moves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
