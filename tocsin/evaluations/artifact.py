"""Eval results in an artifact of a GitHub Actions workflow: those of its newest run after the engage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tocsin.connections.github import ENDPOINT, LARGEST_ARTIFACT, Artifact, GitHub, Run
from tocsin.connections.http import Http
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.config import Evals, Target
from tocsin.core.evallines import results as read
from tocsin.core.evals import Results
from tocsin.evaluations.archive import Unusable, content

_LOOKED_AT = 10
_RAN_NOTHING = frozenset({"success", "skipped"})
"""How a run may have ended that left no results here, without leaving anybody to wonder what they were."""


def results(
    http: Http, secret: Callable[[str], str], endpoint: str | None, evals: Evals, target: Target, since: datetime
) -> Results | NoAnswer:
    """Return what the artifact of the newest completed run after ``since`` holds, or why there is none."""
    try:
        github = GitHub(http, secret(evals.token_setting), endpoint or ENDPOINT)
    except (LookupError, ValueError) as error:
        return NoAnswer(Why.FORBIDDEN, str(error.args[0] if error.args else error))
    found = _newest(github, evals, since)
    if isinstance(found, NoAnswer):
        return found
    run, artifact = found
    if artifact.size > LARGEST_ARTIFACT:
        return NoAnswer(Why.BROKEN, f"the artifact of run {run.id} has {artifact.size} bytes")
    data = github.download(evals.github, artifact.id)
    return data if isinstance(data, NoAnswer) else _results(run, data, evals, target)


def _newest(github: GitHub, evals: Evals, since: datetime) -> tuple[Run, Artifact] | NoAnswer:
    """Return the newest run that says anything. One that broke off may have been about to say no: nothing is older."""
    runs = github.runs(evals.github, evals.workflow, since, "completed")
    if isinstance(runs, NoAnswer):
        return runs
    for run in [each for each in runs if not each.foreign][:_LOOKED_AT]:
        artifacts = github.artifacts(evals.github, run.id, evals.artifact)
        if isinstance(artifacts, NoAnswer):
            return artifacts
        if artifacts:
            newest = artifacts[0]
            gone = NoAnswer(Why.MISSING, f"the artifact of run {run.id} has expired: run the evals again")
            return gone if newest.expired else (run, newest)
        if run.conclusion not in _RAN_NOTHING:
            words = f"run {run.id} ended as {run.conclusion or 'nothing'} and left no artifact '{evals.artifact}'"
            return NoAnswer(Why.MISSING, f"{words}: run the evals again")
    words = f"no run of {evals.github} {evals.workflow} since the engage has an artifact '{evals.artifact}'"
    return NoAnswer(Why.MISSING, f"{words}: run the evals")


def _results(run: Run, data: bytes, evals: Evals, target: Target) -> Results | NoAnswer:
    try:
        made, said = read(f"artifact '{evals.artifact}' of {evals.github}", content(data), f"{evals.artifact}/")
    except Unusable as error:
        return NoAnswer(Why.BROKEN, f"run {run.id}: {error}")
    whole = () if run.conclusion == "success" else (f"run {run.id} ended as {run.conclusion}: it may have broken off",)
    return replace(
        made,
        run=run.url or f"run {run.id}",
        target=made.target or _named(evals.artifact, target.name),
        at=min(run.created, said.finished) if said else run.created,
        problems=(*whole, *made.problems),
    )


def _named(artifact: str, target: str) -> str:
    """Return the target when the artifact is called after it: ``evals-sales`` is of ``sales``, and says so itself."""
    return target if f"-{artifact}".endswith(f"-{target}") else ""
