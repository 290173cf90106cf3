"""What runs in the limited child: a foreign file to Parquet parts of the contract's types. It imports little but polars."""
