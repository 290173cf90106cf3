"""A use case drafted from a file, and a team's own project: what `penstock new` and `penstock init` write."""
