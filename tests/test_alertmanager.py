"""The real Alertmanager and the model of it tell the same: what Tocsin is compared with is what it does."""

from __future__ import annotations

import json

import pytest

from tests.alertmanager import server
from tests.alertmanager.cases import Case, from_json, generate, to_json
from tests.alertmanager.known import KNOWN
from tests.alertmanager.model import predict
from tests.alertmanager.record import comparable
from tests.amount import often

SEED, COUNT = 7, often(240, 80)


def test_the_same_seed_gives_the_same_cases_and_json_keeps_them() -> None:
    cases = [*generate(SEED, 30), *KNOWN]
    assert cases[:30] == generate(SEED, 30)
    assert [from_json(json.loads(json.dumps(to_json(case)))) for case in cases] == cases


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: case.about)
def test_the_model_knows_what_is_known(case) -> None:
    assert comparable(predict(case).notifications) == comparable(KNOWN[case])


@pytest.mark.slow
def test_the_real_one_does_what_the_model_predicts() -> None:
    """It runs by a real clock: what a busy machine made late is run again, and has to agree then."""
    binary, cases = server.needed(), [*generate(SEED, COUNT), *KNOWN]
    for _ in range(3):
        cases = differing(cases, binary)
        if not cases:
            break
    assert [(case.id, case.about) for case in cases] == []


def differing(cases: list[Case], binary: str) -> list[Case]:
    """Return the cases of which the real one tells something else than the model; all, when the machine was late."""
    try:
        told = server.run(cases, binary)
    except TimeoutError:
        return cases
    return [case for case in cases if comparable(told[case.id]) != comparable(predict(case).notifications)]
