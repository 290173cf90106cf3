"""A Prefect server: what is deployed to it, what it is asked, and the one that runs within a command."""
