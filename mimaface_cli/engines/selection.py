"""Selection of the engine for a run, with the reason that is reported with every result."""

from dataclasses import dataclass, replace

from mimaface_cli.engines.base import Engine, EngineQuery, Readiness
from mimaface_cli.engines.registry import AUTO, create_engine, engine_names
from mimaface_cli.errors import InputError, WeightsError


@dataclass(frozen=True)
class Selection:
    """An engine and why it runs."""

    engine: Engine
    reason: str


def select_engine(name: str, query: EngineQuery) -> Selection:
    """Select an engine.

    Args:
        name: Name of an engine, or "auto" for the first registered engine that is recommended for the run.
        query: Description of the run.

    Raises:
        InputError: The requested engine does not support these inputs.
        WeightsError: The requested engine cannot run here, or no engine can.
    """
    if name != AUTO:
        answer = create_engine(name).readiness(query)
        if answer.engine is None:
            raise answer.error(answer.problem, field="engine")
        reason = f"requested; {answer.replacement}" if answer.replacement else "requested"
        return Selection(answer.engine, reason)
    query = replace(query, is_automatic=True)
    passed_over: list[Readiness] = []
    for candidate in map(create_engine, engine_names()):
        answer = candidate.readiness(query)
        if answer.engine is not None and _is_suitable(answer.engine, answer, query):
            return Selection(answer.engine, _reason(answer, query, passed_over))
        passed_over.append(answer)
        if candidate.space == query.track_space:
            raise InputError(
                f"{query.driver_name}: is in the {candidate.space} space, and the {candidate.name} engine that "
                f"consumes it cannot run. {answer.problem}"
            )
    raise WeightsError("no engine can run here. Run mimaface doctor to see what is missing.", field="engine")


def _is_suitable(engine: Engine, answer: Readiness, query: EngineQuery) -> bool:
    """Return whether automatic selection may select an engine; a finished track needs the engine of its space."""
    if query.track_space is None:
        return answer.is_recommended
    return query.track_space == engine.space


def _reason(answer: Readiness, query: EngineQuery, passed_over: list[Readiness]) -> str:
    if query.track_space is not None:
        return "the track is in its space"
    clauses = [answer.summary, *(other.summary for other in passed_over[:1])]
    return ": ".join(clause for clause in clauses if clause)


def may_use_gpu(name: str) -> bool:
    """Return whether a run with an engine, or with automatic selection, may use a GPU here."""
    names = engine_names() if name == AUTO else (name,)
    return any(create_engine(engine_name).uses_gpu() for engine_name in names)
