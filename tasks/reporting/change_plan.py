"""What a change of a use case's code does before it is merged, asked of the very functions that do it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.change_plan import ChangePlan, Stage
from schemas.errors import NotEnoughEvidence, UsageError
from schemas.fitting import Engine
from schemas.model_design import compare_designs, describe_design, is_scored_alike
from schemas.refs import DataRef, ModelRef
from schemas.usecase import UseCase
from tasks import publishing, training
from tasks.registry import CHALLENGER, CHAMPION, ModelRegistry, recorded_design, use_case_of, wanted_input
from tasks.versions import MAIN, VersionStore


def plan_change(case: UseCase, store: VersionStore, registry: ModelRegistry, engine: Engine = "memory") -> ChangePlan:
    """What the use case as the code declares it means for what is published and for the champion.

    Args:
        case: The use case as the code declares it.
        store: The repository with the use case's data.
        registry: The model registry.
        engine: Where rows would lie in a training: `memory`, `external` or `dask`.

    Returns:
        The stages in the order in which they happen, and whether one of them breaks something.
    """
    stages = tuple(_stages(case, store, registry, engine))
    broken = [stage.what for stage in stages if stage.breaks]
    changed = sum(stage.changes for stage in stages)
    done = f"{changed} of {len(stages)} stages do something, and none breaks" if changed else "nothing changes"
    why = broken[0] if broken else done
    return ChangePlan(use_case=case.name, why=why, stages=stages)


def _stages(case: UseCase, store: VersionStore, registry: ModelRegistry, engine: Engine) -> Iterator[Stage]:
    if store.exists():
        yield from _contracts(case, store)
    champion = registry.champion(case.name)
    if champion is None:
        yield Stage(name="champion", what="there is no champion: the next training makes the first", changes=False)
        return
    yield from _champion(case, registry, champion)
    yield from _wanted(case, registry)
    if store.exists():
        yield _training(case, store, registry, champion, engine)


def _contracts(case: UseCase, store: VersionStore) -> Iterator[Stage]:
    for spec in case.inputs:
        evolution = publishing.contract_evolution(store, spec)
        changed = evolution.status not in ("same", "new")
        yield Stage(name="contract", what=f"{spec.name}: {evolution.status}, {evolution.why}", changes=changed)
        if evolution.status in ("narrower", "unknown"):
            recheck = publishing.revalidate(store, spec)
            what = f"{spec.name}: {recheck.why}"
            yield Stage(name="rows", what=what, changes=bool(recheck.failing), breaks=bool(recheck.failing))


def _champion(case: UseCase, registry: ModelRegistry, champion: ModelRef) -> Iterator[Stage]:
    design = recorded_design(registry, champion)
    if design is None:
        what = f"v{champion.version} is of an earlier release and carries no design: it is scored by the code's"
        yield Stage(name="champion", what=what, changes=False)
        return
    try:
        use_case_of(case, registry, champion)
    except UsageError as gone:
        yield Stage(name="champion", what=str(gone), changes=True, breaks=True)
        return
    differences = compare_designs(design, describe_design(case))
    what = f"v{champion.version} goes on by its own design"
    if differences:
        what += f"; in the code {', '.join(differences)}"
    yield Stage(name="champion", what=what, changes=bool(differences))


def _wanted(case: UseCase, registry: ModelRegistry) -> Iterator[Stage]:
    for spec in case.inputs:
        known = spec.contract.dtypes()
        wanted = [name for name in wanted_input(case, spec.name, registry).contract.dtypes() if name not in known]
        if wanted:
            until = f"until neither {CHAMPION} nor {CHALLENGER} needs it; rows without are not scored"
            what = f"{spec.name}: {', '.join(wanted)} stays wanted {until}"
            yield Stage(name="columns", what=what, changes=True)


def _training(case: UseCase, store: VersionStore, registry: ModelRegistry, champion: ModelRef, engine: Engine) -> Stage:
    design = recorded_design(registry, champion)
    if design is not None and is_scored_alike(case, design):
        return Stage(name="training", what="the champion's features and target are those of the code", changes=False)
    data = DataRef(store=store.url, commit=store.head(MAIN))
    try:
        reference = training.choose_reference(case, registry, champion, data, engine)
    except (NotEnoughEvidence, UsageError) as why:
        return Stage(name="training", what=f"penstock train {case.name} waits: {why}", changes=True)
    where = (
        f"at once with v{reference.model.version}, which v{champion.version} is a refit of, on its own holdout"
        if reference.same_holdout and reference.model
        else f"with v{champion.version} on labelled rows that are newer than what it was fitted on"
    )
    what = f"penstock train {case.name} fits the new design and compares it {where}"
    return Stage(name="training", what=what, changes=True)
