"""One row at a time: contract, lookups and features of a use case without a frame, bit-equal to polars."""
