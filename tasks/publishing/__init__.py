"""The writers of main: an audited branch is published, retracted, revalidated."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
