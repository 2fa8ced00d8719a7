"""Eval results in an artifact of a GitHub Actions workflow: those of its newest run after the engage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin.connections.github import LARGEST_ARTIFACT, Artifact, GitHub, Run
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Evals, Target
from tocsin.core.evallines import results as read
from tocsin.core.evals import RED_FOR, Results
from tocsin.evaluations.archive import Unusable, content

BACK = timedelta(days=30)
"""How far back the last run is looked for that is older than ``RED_FOR``."""

_LOOKED_AT = 10
_RAN_NOTHING = frozenset({"success", "skipped"})
"""How a run may have ended that left no results here, without leaving anybody to wonder what they were."""


def results(
    connect: Callable[[str], GitHub], target: Target, evals: Evals, since: datetime, now: datetime
) -> Results | NoAnswer:
    """Return what the artifact of the newest completed run after ``since`` holds, and earlier ones, or why none does.

    ``connect`` returns GitHub for the name of a token's setting, or raises LookupError or ValueError.
    """
    try:
        place = _Place(connect(evals.token_setting), evals, target)
    except (LookupError, ValueError) as error:
        return NoAnswer(Why.FORBIDDEN, str(error.args[0] if error.args else error))
    listed = place.github.runs(evals.github, evals.workflow, min(since, now - BACK), "completed")
    if isinstance(listed, NoAnswer):
        return listed
    runs = [each for each in listed if not each.foreign and evals.branch in ("", each.branch)]
    newest = place.newest([each for each in runs if each.created > since][:_LOOKED_AT])
    if isinstance(newest, NoAnswer):
        return newest
    run, artifacts = newest
    found = place.read(run, artifacts[0])
    if isinstance(found, NoAnswer):
        return found
    older = runs[runs.index(run) + 1 :]
    earlier = place.earlier(run, artifacts[1:], older[:_LOOKED_AT], now)
    return earlier if isinstance(earlier, NoAnswer) else replace(found, earlier=earlier)


@dataclass(frozen=True, slots=True)
class _Place:
    """A repository with the results of a target."""

    github: GitHub
    evals: Evals
    target: Target

    def newest(self, runs: Sequence[Run]) -> tuple[Run, tuple[Artifact, ...]] | NoAnswer:
        """Return the newest run that says anything. One that broke off may have been about to say no: none is older."""
        evals = self.evals
        for run in runs:
            artifacts = self.github.artifacts(evals.github, run.id, evals.artifact)
            if isinstance(artifacts, NoAnswer):
                return artifacts
            if artifacts:
                gone = NoAnswer(Why.MISSING, f"the artifact of run {run.id} has expired: run the evals again")
                return gone if artifacts[0].expired else (run, artifacts)
            if run.conclusion not in _RAN_NOTHING:
                words = f"run {run.id} ended as {run.conclusion or 'nothing'} and left no artifact '{evals.artifact}'"
                return NoAnswer(Why.MISSING, f"{words}: run the evals again")
        words = f"no run of {evals.github} {evals.workflow} since the engage has an artifact '{evals.artifact}'"
        return NoAnswer(Why.MISSING, f"{words}: run the evals")

    def earlier(
        self, newest: Run, tries: Sequence[Artifact], runs: Sequence[Run], now: datetime
    ) -> tuple[Results, ...] | NoAnswer:
        """Return the results of the newest run's earlier tries, of a day's runs before it, and of one before those."""
        found: list[Results] = []
        for run, kept in [(newest, tries), *((run, None) for run in runs)]:
            artifacts = (
                kept if kept is not None else self.github.artifacts(self.evals.github, run.id, self.evals.artifact)
            )
            if isinstance(artifacts, NoAnswer):
                return artifacts
            for artifact in (each for each in artifacts if not each.expired):
                made = self.read(run, artifact)
                if isinstance(made, NoAnswer) and made.why is not Why.BROKEN:
                    return made
                found += [] if isinstance(made, NoAnswer) else [made]
            if found and run.created < now - RED_FOR and run is not newest:
                break
        return tuple(found)

    def read(self, run: Run, artifact: Artifact) -> Results | NoAnswer:
        """Return what an artifact of a run holds; ``BROKEN`` if that is not the results of evals."""
        evals = self.evals
        if artifact.size > LARGEST_ARTIFACT:
            return NoAnswer(Why.BROKEN, f"the artifact of run {run.id} has {artifact.size} bytes")
        data = self.github.download(evals.github, artifact.id)
        if isinstance(data, NoAnswer):
            return data
        try:
            made, said = read(f"artifact '{evals.artifact}' of {evals.github}", content(data), f"{evals.artifact}/")
        except Unusable as error:
            return NoAnswer(Why.BROKEN, f"run {run.id}: {error}")
        broke = f"run {run.id} ended as {run.conclusion}: it may have broken off"
        return replace(
            made,
            run=run.url or f"run {run.id}",
            target=made.target or _named(evals.artifact, self.target.name),
            at=min(run.created, said.finished) if said else run.created,
            problems=(*(() if run.conclusion == "success" else (broke,)), *made.problems),
        )


def _named(artifact: str, target: str) -> str:
    """Return the target when the artifact is called after it: ``evals-sales`` is of ``sales``, and says so itself."""
    return target if f"-{artifact}".endswith(f"-{target}") else ""
