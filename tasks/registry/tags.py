"""The tags that a model version carries in the registry, spelt once. They are public: what is recorded keeps its names."""

STATE = "penstock.state"  # what became of the version: challenger, champion, archived, rolled back, refused, ...
WHY = "penstock.why"
OVERRIDE = "penstock.override"  # the reason of a person who promoted against the gate
SEARCH = "penstock.search"  # trials of the search for parameters
RECIPE = "penstock.recipe_of"  # the gated version that a refit ships in place of
UNNOTIFIED = "penstock.untold"  # the state that nobody was told of, set before the version has it
ANCHOR = "penstock.history"  # on the model: the newest entry of its history
MOVE = "penstock.move"  # on the model: the newest move of the champion's alias

MODEL = "penstock.model_sha256"
MANIFEST = "penstock.manifest_sha256"
RECORD = "penstock.hashes_sha256"
VERDICT = "penstock.verdict_sha256"
CARD = "penstock.card_sha256."  # followed by the file's suffix
STUDY = "penstock.study_sha256"
TRIAL = "penstock.trial"
RESULT = "penstock.result"

# States that a champion has after its reign.
ARCHIVED, ROLLED_BACK = "archived", "rolled back"
