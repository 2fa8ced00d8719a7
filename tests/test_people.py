"""The commands about who is told: routes, reasons, silences, acknowledgements, messages, a receiver that is tried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.notices import ALERT, EXECUTION, RULE, TARGET, fired
from tests.test_cli import run, runner
from tests.test_cli import world as world
from tocsin.app import App
from tocsin.cli.commands import program
from tocsin.cli.project import load_app
from tocsin.core import mute
from tocsin.core.ack import Acknowledgement
from tocsin.core.alert import Alert, State, Verdict
from tocsin.core.matching import parse
from tocsin.core.message import NEWS, Kind, Notice, Settled, outbox
from tocsin.core.mute import Silence
from tocsin.core.remedy import Phase
from tocsin.engine.notifying import Courier
from tocsin.engine.telling import Teller
from tocsin.local.world import World
from tocsin.ports import StoreUnavailable
from tocsin.stores.sqlite import SqliteStore

MINUTE = timedelta(minutes=1)
FILE = """
automation: act
targets:
  - name: sales-research
    workspace: w
    role_name: sales-research-api
    labels: { env: prod }
receivers:
  oncall: { type: stdout }
  team: { type: stdout, resolved: false }
  chat: { type: teams, url_setting: CHAT }
routes:
  to: [team]
  routes:
    - match: { severity: [P0, P1] }
      matchers: ['env=prod']
      to: [oncall, team]
      repeat_interval: 1h
silences:
  - { match: { rule: p95_latency }, author: ops, comment: backups, ends: 2036-01-01,
      recurs: FREQ=DAILY, lasts: 1h, starts: 2026-01-01T02:00:00Z }
quiet_hours:
  - { name: never, match: { rule: nothing } }
fallback: team
"""
RULE_FILE = """
summary: "{value} of the responses on {target} fail."
severity: P1
labels: { team: ai-ops }
when: { signal: response_errors, above: 5%, over: 15m }
for: 5m
"""


@dataclass
class Place:
    """A folder with files of its own, and a state in which one alert has fired just now."""

    folder: Path
    now: datetime

    @property
    def app(self) -> App:
        return load_app(self.folder)

    @property
    def alert(self) -> Alert:
        return replace(ALERT, fired=self.now, since=self.now, slot=self.now, known=self.now, trail=())

    @property
    def notice(self) -> Notice:
        return replace(
            fired(), id=f"{self.alert.episode}/fired", episode=self.alert.episode, at=self.now, since=self.now
        )

    def fire(self) -> None:
        app = self.app
        news = outbox(self.notice, [NEWS], self.now)
        app.engine.store.commit(RULE.id, TARGET.name, [self.alert], news, None)
        self.tell()

    def tell(self, at: datetime | None = None) -> None:
        app, now = self.app, at or datetime.now(UTC)
        Teller(app.engine.project, app.engine.store, app.engine.notifiers, app.engine.log).tell(now)
        Courier(app.engine.store, app.engine.notifiers, app.engine.project.config, app.engine.log).deliver(now)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "high_error_rate.yaml").write_text(RULE_FILE)
    (tmp_path / "tocsin.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOCSIN_STATE", str(tmp_path / "state.sqlite"))
    return Place(tmp_path, datetime.now(UTC).replace(microsecond=0))


def told(*arguments: str, code: int = 0) -> Any:
    return json.loads(run(*arguments, "-o", "json", code=code))


# tocsin routes test


def test_routes_are_shown_with_their_place_group_and_timing(place: Place) -> None:
    shown = told("routes", "test", "severity=P1", "target=sales-research", "rule=high_error_rate")
    assert shown["labels"]["env"] == "prod"
    assert shown["routes"] == [
        {
            "place": "routes[0]",
            "why": "severity=P0|P1, env=prod",
            "to": ["oncall", "team"],
            "group": {"rule": "high_error_rate", "target": "sales-research"},
            "group_wait": "0s",
            "group_interval": "5m",
            "repeat_interval": "1h",
        }
    ]
    text = run("routes", "test", "severity=P2")
    assert "route      routes (default) → team" in text
    assert "group_wait 30s" in text


def test_what_is_expected_decides_the_exit_code(place: Place) -> None:
    labels = ("severity=P1", "target=sales-research")
    assert told("routes", "test", *labels, "--expect", "team, oncall")["as_expected"] is True
    assert told("routes", "test", *labels, "--expect", "oncall", code=1)["as_expected"] is False
    assert told("routes", "test", "severity=P1", "--expect", "oncall,team", code=1)["receivers"] == ["team"]
    assert "severity=P1" in run("routes", "test", "severity", code=2)
    assert "known: P0, P1, P2, P3" in run("routes", "test", "severity=P9", code=2)


# tocsin explain


def by_step(reasons: list[dict[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in reasons:
        found.setdefault(each["step"], []).append(f"{each['about']}: {each['says']}" if each["about"] else each["says"])
    return found


def test_every_reason_is_told_in_order(place: Place) -> None:
    place.fire()
    store = place.app.engine.store
    refused = replace(EXECUTION, id="p/e", episode=place.alert.episode, phase=Phase.REFUSED, reason="not allowed")
    store.record(replace(refused, stopped_by="allow"), [])
    run("ack", place.alert.episode, "--by", "kim", "--comment", "on it")
    (found,) = told("explain", place.alert.episode)
    steps = by_step(found["reasons"])
    order = ["verdict", "state", "muted", "route", "group", "receiver", "acknowledged", "delivery", "policy"]
    assert list(steps) == order
    assert steps["verdict"][0].startswith("breached in the slot of ")
    assert steps["state"][0].startswith("firing since ")
    assert steps["muted"] == ["no: not inhibited, no quiet hours, no silence"]
    assert steps["route"] == ["routes[0]: severity=P0|P1, env=prod → oncall, team"]
    assert "looked at next at" in steps["group"][0]
    assert [each.split(": ", 1)[1] for each in steps["receiver"] if "if looked" in each] == [
        "not told if looked at now: nothing new since it was told"
    ] * 2
    assert any("of this alert, too; at the last look: first notification" in each for each in steps["receiver"])
    assert steps["acknowledged"][0].startswith("by kim at ")
    assert [each.split(":")[0] for each in steps["delivery"]] == ["news", "oncall", "team", "news"]
    assert "delivered" in steps["delivery"][1]
    assert "1 attempt: written" in steps["delivery"][1]
    assert steps["policy"][0].startswith("stop_unsafe_tools: killswitch.engage: refused [allow]")
    assert steps["policy"][0].endswith("not allowed")
    assert run("explain", "high_error_rate").startswith(place.alert.episode)
    assert told("explain", "high_error_rate/sales-research") == told("explain", "high_error_rate")


def test_what_mutes_is_named_and_who_was_not_told_because_of_it(place: Place) -> None:
    run("silence", "add", "--match", "rule=high_error_rate", "--comment", "known", "--author", "kim")
    place.fire()
    steps = by_step(told("explain", "high_error_rate")[0]["reasons"])
    assert steps["muted"][0].startswith("silenced by kim until ")
    assert any(each.startswith("oncall: not told now: silenced by kim") for each in steps["receiver"])
    assert any("held back when it was last looked at: silenced" in each for each in steps["group"])
    assert all(each.startswith("news") for each in steps["delivery"])


def test_a_silence_that_cannot_be_judged_is_explained_as_what_it_is_for_notifying_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.fire()
    for name in ("broken", "good"):
        ends = place.now + timedelta(hours=1)
        silence = Silence(name, (parse("rule=high_error_rate"),), name, "known", place.now, ends)
        place.app.engine.store.keep(Silence, name, silence, None)

    def judged(silence: Silence, now: datetime) -> Any:
        if silence.id == "broken":
            raise ValueError("a defect")
        return sound(silence, now)

    sound = mute.in_force_until
    monkeypatch.setattr(mute, "in_force_until", judged)
    steps = by_step(told("explain", "high_error_rate")[0]["reasons"])
    assert steps["muted"][0].startswith("silenced by good until ")


def test_what_has_not_fired_is_explained_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when no telemetry answers: it is asked whether the rule could fire at all."""
    for name in ("LOG_ANALYTICS", "ARM", "METRICS"):
        monkeypatch.setenv(f"TOCSIN_{name}_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TOCSIN_STATIC_TOKEN", "nobody answers there")
    calm = by_step(told("explain", "high_error_rate")[0]["reasons"])
    assert calm["state"] == ["sales-research: never evaluated"]
    assert "whether it can ever fire is not known" in calm["telemetry"][0]
    waiting = Alert(RULE.id, TARGET.name, state=State.PENDING, slot=place.now, since=place.now, held=2 * MINUTE)
    place.app.engine.store.commit(RULE.id, TARGET.name, [replace(waiting, last=Verdict.BREACHED)], [], None)
    steps = by_step(told("explain", "high_error_rate/sales-research")[0]["reasons"])
    assert "breached for 2m of the 5m it takes" in steps["state"]
    assert steps["route"][0].startswith("routes[0]: ")
    assert "known" in run("explain", "nothing", code=2)


def test_what_is_over_is_still_explained_by_its_episode(place: Place) -> None:
    place.fire()
    store = place.app.engine.store
    end = replace(place.notice, id="end", kind=Kind.RESOLVED, at=place.now + 10 * MINUTE, begins=False)
    ended = replace(place.alert, state=State.INACTIVE)
    etag = store.load(RULE.id, TARGET.name).etag
    store.commit(RULE.id, TARGET.name, [ended], outbox(end, [NEWS], end.at), etag)
    place.tell(end.at)
    place.tell(end.at + 6 * MINUTE)
    (found,) = told("explain", place.alert.episode)
    steps = by_step(found["reasons"])
    assert steps["state"] == ["inactive: its episode is over, and nothing has breached since"]
    assert any(each.startswith("oncall: resolved, delivered ") for each in steps["delivery"])


# tocsin silence


def test_a_silence_is_added_listed_and_expired(place: Place) -> None:
    made = told("silence", "add", "--matcher", 'severity=~"P[23]"', "--for", "2h", "--comment", "maintenance")
    assert (made["state"], made["matchers"]) == ("active", "severity=~P[23]")
    rows = told("silence", "list")
    assert [row["id"] for row in rows] == ["tocsin.yaml silences[0]", made["id"]]
    assert rows[0]["recurs"] == "FREQ=DAILY for 1h, UTC"
    assert rows[0]["state"] in ("active", "between")
    assert "told again" in run("silence", "expire", made["id"])
    assert [row["state"] for row in told("silence", "list")][1] == "over"
    assert "no silence" in run("silence", "expire", made["id"], code=2)
    assert "stands in the file" in run("silence", "expire", "tocsin.yaml silences[0]", code=2)
    (kept,) = place.app.engine.store.kept(Silence).values()
    assert kept.value.comment == "maintenance"
    begun, ended = told("audit", "list")
    assert (begun["event"], ended["event"], begun["subject"]) == ("silenced", "silence ended", made["id"])
    assert begun["detail"]["matchers"] == "severity=~P[23]"
    assert ended["actor"] == f"person {kept.value.ended_by}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--comment", "x"], "--match or --matcher"),
        (["--match", "rule", "--comment", "x"], "not like rule=high_error_rate"),
        (["--match", "rule!=x", "--comment", "x"], "--matcher takes"),
        (["--match", "severity==P3", "--comment", "x"], "write severity=P3"),
        (["--match", "severity='P3'", "--comment", "x"], 'write severity="P3"'),
        (["--matcher", "severity=~P[", "--comment", "x"], "no regular expression"),
        (["--match", "rule=x", "--comment", " "], "must say why"),
        (["--match", "rule=x", "--comment", "x", "--for", "soon"], "not a duration"),
        (["--match", "rule=x", "--comment", "x", "--for", "0s"], "no time at all"),
        (["--match", "rule=x", "--comment", "x", "--for", "2 hours"], "did you mean '2h'?"),
        (["--match", "sevrity=P0", "--comment", "x"], "no label 'sevrity'; did you mean 'severity'?"),
        (["--match", "rule=high_eror_rate", "--comment", "x"], "did you mean 'high_error_rate'?"),
        (["--match", "severity=P5", "--comment", "x"], "no severity 'P5'; did you mean 'P3'?"),
        (["--matcher", "target!=sales-reserch", "--comment", "x"], "did you mean 'sales-research'?"),
        (["--matcher", "rule=~slo-.*", "--comment", "x"], "no rule matches 'slo-.*'"),
        (["--match", "severity=P0", "--comment", "x"], "hides azure_alert_p0 on sales-research"),
        (["--match", "target=sales-research", "--comment", "x"], "whose severity is P0. Say --yes"),
        (["--match", "severity=P3", "--comment", "x", "--for", "30d"], "it lasts 4w2d. Say --yes"),
    ],
)
def test_a_silence_that_says_too_little_is_a_wrong_call(place: Place, arguments: list[str], words: str) -> None:
    assert words in run("silence", "add", *arguments, code=2)


def test_a_silence_of_the_worst_or_a_long_one_is_kept_when_it_is_meant(place: Place) -> None:
    made = told("silence", "add", "--match", "severity=P0", "--for", "30d", "--comment", "moving", "--yes")
    assert made["id"] in [each["id"] for each in told("silence", "list")]
    run("silence", "add", "--match", "severity=P3", "--for", "7d", "--comment", "a week is not long")


def test_a_preview_of_what_is_not_there_is_a_wrong_call(place: Place) -> None:
    assert "did you mean 'rule'?" in run("silence", "preview", "--match", "rul=high_error_rate", code=2)


def test_a_preview_lists_what_would_have_been_hidden_and_hides_nothing(place: Place) -> None:
    place.fire()
    store = place.app.engine.store
    failure = replace(place.notice, id="f", kind=Kind.FAILED, begins=False)
    store.enqueue(outbox(failure, [NEWS], place.now))
    store.enqueue(outbox(replace(place.notice, id="old"), [NEWS], place.now - timedelta(hours=25)))
    shown = told("silence", "preview", "--match", "severity=P0", "--match", "severity=P1", "--matcher", "env=prod")
    assert (shown["count"], shown["notices"][0]["rule"]) == (1, "high_error_rate")
    assert told("silence", "preview", "--match", "rule=telemetry_blind")["count"] == 0
    assert "would have hidden 1" in run("silence", "preview", "--match", "rule=high_error_rate")
    assert store.kept(Silence) == {}


# tocsin ack


def test_an_acknowledgement_is_kept_and_told(place: Place) -> None:
    place.fire()
    given = told("ack", place.alert.episode, "--for", "2h", "--by", "kim", "--comment", "on it")
    assert given["by"] == "kim"
    (kept,) = [each.value for each in place.app.engine.store.kept(Acknowledgement).values()]
    assert kept.until - kept.at == timedelta(hours=2)
    place.tell()
    told_of = [each for each in place.app.engine.store.deliveries() if each.notice.kind is Kind.ACKNOWLEDGED]
    assert {each.receiver for each in told_of} == {NEWS, "oncall", "team"}
    assert "kim has it until" in run("ack", place.alert.episode, "--by", "kim")


def test_who_acknowledged_is_in_the_audit_with_the_account_that_vouches_for_it(place: Place) -> None:
    place.fire()
    run("ack", place.alert.episode, "--by", "\x1b[2Jkim\u202e" + "m" * 99, "--comment", "on\nit")
    (entry,) = told("audit", "list")
    assert (entry["event"], entry["subject"]) == ("acknowledged", place.alert.episode)
    assert entry["actor"] == "person " + "[2Jkim" + "m" * 53 + "…"
    assert (entry["detail"]["via"], entry["detail"]["reason"]) == ("command line", "on it")
    assert entry["detail"]["identity"].startswith("account ")


def test_an_acknowledgement_that_could_not_be_kept_is_not_left_in_the_audit_as_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    place.fire()
    monkeypatch.setattr(SqliteStore, "keep", fails)
    assert "nothing was acknowledged" in runner.invoke(program, ["ack", place.alert.episode]).stderr
    assert [each["event"] for each in told("audit", "list")] == ["acknowledged", "not kept"]


def test_what_is_not_open_cannot_be_acknowledged(place: Place) -> None:
    assert "no alert is open" in run("ack", "high_error_rate/sales-research", code=2)
    place.fire()
    assert "did you mean:\n  tocsin ack high_error_rate/sales-research\n" in run(
        "ack", "high_eror_rate/sales-research", code=2
    )
    assert "open:\n  tocsin ack high_error_rate/sales-research\n" in run("ack", "zzz", code=2)


def test_a_rule_and_a_target_name_an_alert_where_they_name_one(place: Place) -> None:
    place.fire()
    (row,) = told("alerts")
    assert row["alert"] == "high_error_rate/sales-research"
    assert told("ack", row["alert"])["episode"] == place.alert.episode


def test_a_name_that_means_several_alerts_lists_them_with_what_tells_them_apart(place: Place) -> None:
    agents = [(("agent", name),) for name in ("writer\u202e", "reader")]
    alerts = [replace(place.alert, by=by) for by in agents]
    place.app.engine.store.commit(RULE.id, TARGET.name, alerts, [], None)
    said = run("ack", "high_error_rate/sales-research", code=2)
    assert "is 2 open alerts; say which" in said
    assert "agent=writer\n" in said
    handles = [row["alert"] for row in told("alerts")]
    assert len(set(handles)) == 2
    assert all(f"tocsin ack {each}  agent=" in said for each in handles)


# tocsin deliveries


def test_messages_are_listed_by_state_and_receiver(place: Place) -> None:
    place.fire()
    assert {row["receiver"] for row in told("deliveries")} == {"oncall", "team"}
    assert {row["receiver"] for row in told("deliveries", "--news")} == {"oncall", "team", NEWS}
    store = place.app.engine.store
    (waiting,) = outbox(replace(place.notice, id="w"), ["chat"], place.now)
    store.enqueue([replace(waiting, not_before=place.now + 3 * MINUTE, receipt="503")])
    (dead,) = outbox(replace(place.notice, id="d"), ["oncall"], place.now)
    store.enqueue([dead])
    store.settle(replace(store.claim(dead, place.now), state=Settled.DEAD, settled=place.now, receipt="410 gone"))
    (row,) = told("deliveries", "--state", "dead")
    assert (row["receiver"], row["said"], row["attempts"]) == ("oncall", "410 gone", 1)
    (row,) = told("deliveries", "--receiver", "chat")
    assert (row["state"], row["next"]) == ("waiting", (place.now + 3 * MINUTE).isoformat(timespec="seconds"))
    assert "410 gone" in run("deliveries", "--state", "dead")
    assert "known: waiting" in run("deliveries", "--state", "lost", code=2)
    assert "known: chat, oncall" in run("deliveries", "--receiver", "nobody", code=2)


# tocsin notify test


def test_a_test_reaches_the_real_receiver_and_leaves_nothing_open(world: World) -> None:
    assert told("notify", "test", "team")["said"] == "accepted"
    ((_, card),) = world.teams.cards
    assert "TEST: a person tries this receiver" in json.dumps(card)
    assert told("notify", "test", "oncall")["closed"] == "accepted"
    (incident,) = world.pagerduty.incidents
    assert world.pagerduty.open() == []
    assert incident.events[0]["payload"]["severity"] == "info"


def test_a_refusal_is_bad_news(world: World) -> None:
    world.teams.faults.add("bad_request", times=1)
    assert told("notify", "test", "team", code=1)["said"] == "refused"


def test_a_receiver_that_is_not_there_or_lacks_its_secret_is_named(place: Place) -> None:
    assert "known: oncall, team, chat" in run("notify", "test", "nobody", code=2)
    assert "CHAT is not set" in run("notify", "test", "chat", code=2)


@pytest.fixture
def blocked(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (place.folder / "broken").mkdir()
    monkeypatch.setenv("TOCSIN_STATE", "broken")
    return


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "high_error_rate"],
        ["deliveries"],
        ["silence", "list"],
        ["silence", "preview", "--match", "rule=high_error_rate"],
        ["silence", "add", "--match", "rule=high_error_rate", "--comment", "x"],
        ["silence", "expire", "x"],
        ["ack", "x"],
    ],
)
def test_a_state_that_does_not_answer_is_exit_code_three(blocked: None, arguments: list[str]) -> None:
    run(*arguments, code=3)
