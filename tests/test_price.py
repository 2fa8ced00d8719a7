"""A model whose price the app does not know is not swapped to without a word."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.kql.binder import Binder
from tests.stage import ERRORS, MINUTE, SWITCH, T0, TARGET, Stage
from tocsin.core import price
from tocsin.core.answer import NoAnswer, Why
from tocsin.core.policy import Policy

SWAP = {
    "id": "swap_model",
    "summary": "x",
    "on": {"rule": "high_error_rate"},
    "do": [{"model.swap": {"to": "standby"}}],
    "if_it_fails": {"escalate": "P1"},
}


def swapping(mode: str, *calls: tuple[str, str]) -> Stage:
    """Return a stage whose responses fail, after model calls of a name and a cost; the swap is noted, not made."""
    policy = Policy.model_validate({**SWAP, "guard": {"mode": mode}})
    target = TARGET.model_copy(update={"allow": ("model.swap",)})
    stage = Stage(ERRORS, policies=(policy,))
    stage.project = stage.project.__class__(
        rules=stage.project.rules,
        policies=stage.project.policies,
        config=stage.project.config.model_copy(update={"targets": (target,)}),
    )
    stage.actuators["model.swap"] = stage.platform
    tokens = {"args_redacted.input_tokens": "900", "args_redacted.output_tokens": "90"}
    for number, (model, usd) in enumerate(calls):
        at = T0 - timedelta(days=2, seconds=number)
        stage.trace(at, "cost.call", value=usd, **{"args_redacted.model": model}, **tokens)
    for minute in range(-10, 10):
        for second in range(0, 60, 10):
            at = T0 + minute * MINUTE + timedelta(seconds=second)
            stage.trace(at, "response.returned", ok="false", error="Foundry: 503")
    return stage


def asked(stage: Stage) -> list[tuple[str, str]]:
    stage.run(range(4))
    return [(each.phase.value, each.reason) for each in stage.inner.executions()]


FREE = "calls of standby are recorded as free: the app has no price for it, and no rule of cost would see it"
UNSEEN = "no call of standby was recorded in 30 days: whether the app has its price is not known"


@pytest.mark.parametrize("mode", ["act", "ask"])
@pytest.mark.parametrize(
    ("calls", "words"),
    [((("gpt", "0.1"), ("standby", "0.0")), FREE), ((("gpt", "0.1"),), UNSEEN)],
)
def test_a_swap_to_a_model_without_a_price_asks_and_says_why(
    mode: str, calls: tuple[tuple[str, str], ...], words: str
) -> None:
    stage = swapping(mode, *calls)
    assert asked(stage) == [("asked", words)]
    assert stage.platform.changes == 0
    assert any(words in str(notice) for notice in stage.oncall.got)


@pytest.mark.parametrize("calls", [(), (("standby", "0.1"),), (("standby", "0.0"), ("standby", "0.1"))])
def test_a_model_with_a_price_is_swapped_to_and_so_is_any_where_no_cost_is_recorded(
    calls: tuple[tuple[str, str], ...],
) -> None:
    stage = swapping("act", *calls)
    asked(stage)
    assert stage.platform.changes == 1


def test_telemetry_that_does_not_answer_says_nothing_of_a_price() -> None:
    assert price.beware("standby", NoAnswer(Why.TIMEOUT)) == ""


def test_the_query_is_understood_by_microsofts_parser() -> None:
    binder = Binder()
    assert binder.bind(price.calls(TARGET, "it's", T0).text).errors == ()
    binder.close()


def test_nobody_is_asked_for_a_switch_that_is_on() -> None:
    policy = Policy.model_validate(
        {**SWAP, "do": [{"killswitch.engage": {"scope": "tools"}}], "guard": {"mode": "ask"}}
    )
    stage = Stage(ERRORS, policies=(policy,))
    stage.platform.env[SWITCH] = "on"
    for second in range(-600, 600, 10):
        stage.trace(T0 + timedelta(seconds=second), "response.returned", ok="false", error="boom")
    stage.run(range(10))
    assert stage.oncall.kinds() == ["fired"]
    assert [(each.phase.value, each.stopped_by) for each in stage.inner.executions()] == [
        ("refused", "already in force")
    ]
