"""`python -m penstock` is the command `penstock`."""

from deployments.cli import main

main()
