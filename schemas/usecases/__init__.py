"""Use cases that ship with Penstock; teams register theirs under the entry-point group `penstock.use_cases`."""
