"""What runs in the limited child: a foreign file to Parquet parts of the contract's types. It imports little but polars."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
