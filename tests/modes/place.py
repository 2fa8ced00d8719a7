"""Where failures happen: the composed app and the local world, with files that a test may edit and a clock it moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from tocsin.app import App, Parts, compose
from tocsin.core import audit
from tocsin.core.alert import Alert
from tocsin.core.config import Target
from tocsin.core.remedy import Execution
from tocsin.local.faults import Fault, Faults
from tocsin.local.world import ROLE, World
from tocsin.ports import Store
from tocsin.settings import Settings
from tocsin.stores.sqlite import SqliteStore
from tocsin.testing import Heard
from tocsin.webhook import Answer, answer

START = datetime(2026, 11, 20, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SWITCH = "KILLSWITCH_TOOLS"
RULE = "hitl_misconfigured"
POLICY = "stop_tools"

RULES = {
    RULE: """
summary: "{target} runs without an approver ({value} signs)."
severity: P1
when: { signal: hitl_misconfigured, above: 0, over: 5m }
for: 0s
keep_firing_for: 3m
every: 1m
targets: { env: prod }
""",
    "killswitch_drift": """
summary: "The killswitch of {target} is gone: {scope}."
severity: P1
when: { signal: killswitch_drift, above: 0, over: 1m, by: [scope] }
for: 0s
keep_firing_for: 0s
every: 1m
""",
}
POLICIES = {
    POLICY: """
summary: Stop side-effect tools when production has run without an approver for a minute.
on: { rule: hitl_misconfigured, firing_for: 1m }
do:
  - killswitch.engage: { scope: tools }
verify:
  - { container_env: KILLSWITCH_TOOLS, is: on, within: 6m }
guard: { mode: act, at_most: 2 per 1h, cooldown: 30m }
if_it_fails: { escalate: oncall }
""",
}
HOLD = """
summary: Engage a killswitch again that has gone without a person's release.
on: { rule: killswitch_drift }
do:
  - killswitch.engage: { scope: "{scope}" }
guard: { mode: act, at_most: 3 per 1h, cooldown: 0s }
hold: true
"""
ERRORS = """
summary: "{value} of the responses of {target} fail."
severity: P1
when: { signal: response_errors, above: 20%, over: 5m, minimum: 1 }
for: 0s
keep_firing_for: 0s
every: 1m
"""
TARGET = """
  - name: {name}
    workspace: ${{WATCHED_WORKSPACE}}
    role_name: {role}
    subscription: ${{WATCHED_SUBSCRIPTION}}
    resource_group: ${{WATCHED_RESOURCE_GROUP}}
    container_app: {app}
    labels: {{ env: prod }}
    offset: 0s
    fresh_within: 5m
    allow: [killswitch.engage]
"""
CONFIG = """
automation: {automation}
targets: {targets}
receivers:
  oncall: {{ type: pagerduty, key_setting: PAGERDUTY_ROUTING_KEY, endpoint: "${{PAGERDUTY_ENDPOINT}}" }}
  team: {{ type: teams, url_setting: TEAMS_WEBHOOK_URL }}
routes: {{ to: [oncall, team], group_wait: 0s, group_interval: 1s }}
fallback: team
"""


@cache
def load(folder: Path) -> Path:
    """Return a trace of a quiet API: a request when the world begins, and some from shortly before the story on."""
    seconds = [0, *range(8 * 60, 90 * 60, 150)]
    begun = START.replace(tzinfo=None) - 10 * MINUTE
    rows = [f"{begun + timedelta(seconds=each)}.0000000,500,20" for each in seconds]
    path = folder / "load.csv"
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""]))
    return path


class Meanwhile(Faults):
    """Lets something happen at the platform right before it answers the ``nth`` request of an app with this method."""

    def __init__(self, method: str, do: Callable[[], object], nth: int = 1) -> None:
        super().__init__()
        self._method, self._do, self._left = method, do, nth

    def next(self, now: datetime | None, subject: str = "") -> Fault | None:
        """Return no fault, once that has happened."""
        if subject.startswith(self._method) and "/containerApps/" in subject and "/revisions" not in subject:
            self._left -= 1
            if self._left == 0:
                self._do()
        return super().next(now, subject)


@dataclass
class Ahead:
    """The clock of a process, which may differ from the world's."""

    world: World
    by: timedelta = timedelta()

    def now(self) -> datetime:
        return self.world.clock.now() + self.by


@dataclass
class Place:
    """One project, one world, one state file, and as many processes on it as a test composes."""

    world: World
    root: Path
    rules: dict[str, str] = field(default_factory=lambda: dict(RULES))
    policies: dict[str, str] = field(default_factory=lambda: dict(POLICIES))
    settings: dict[str, str] = field(default_factory=dict)
    automation: str = "act"
    targets: str = ""
    log: Heard = field(default_factory=Heard)
    one: App | None = None
    silent: bool = False
    """Whether the accelerator emits nothing any more."""

    def __post_init__(self) -> None:
        (self.root / ".tocsin").mkdir()
        self.target: Target = self.world.target()
        self.targets = self.targets or self.described("sales-research", "sales-research-api", ROLE)

    @staticmethod
    def described(name: str, app: str, role: str = "") -> str:
        """Return a target as the file has it; its telemetry goes by the app's name unless another is given."""
        return TARGET.format(name=name, role=role or app, app=app)

    # Processes

    def write(self) -> None:
        """Write every file as it is to be."""
        for folder, files in (("rules", self.rules), ("remediations", self.policies)):
            (self.root / folder).mkdir(exist_ok=True)
            for old in (self.root / folder).glob("*.yaml"):
                old.unlink()
            for name, text in files.items():
                (self.root / folder / f"{name}.yaml").write_text(text)
        config = CONFIG.format(automation=self.automation, targets=self.targets)
        (self.root / "tocsin.yaml").write_text(config)

    def process(self, ahead: timedelta = timedelta(), store: Store | None = None) -> App:
        """Return a process of its own, composed of the files as they are now."""
        self.write()
        given = Settings(self.root, {**self.world.settings(), **self.settings})
        return compose(given, Parts(clock=Ahead(self.world, ahead), log=self.log, store=store))

    @property
    def app(self) -> App:
        """The one process, composed on first use."""
        if self.one is None:
            self.one = self.process()
        return self.one

    def deploy(self, **changes: Any) -> None:
        """Edit the files and begin a new process with them, as a deployment of the watcher does."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.one = self.process()

    def edit(self, old: str, new: str) -> None:
        """Deploy the policy with one text in the place of another."""
        self.deploy(policies={**self.policies, POLICY: self.policies[POLICY].replace(old, new)})

    # Time

    def run(self, minutes: int, *others: App) -> None:
        """Let minutes pass with a tick of every process at the end of each."""
        for _ in range(minutes):
            self.wait(MINUTE)
            for app in (self.app, *others):
                app.tick()

    def wait(self, length: timedelta) -> None:
        """Let time pass, and nobody tick."""
        (self.world.clock.advance_to if self.silent else self.world.advance)(self.world.clock.now() + length)

    def until(self, phase: str, most: int = 12) -> None:
        """Tick each minute until the one execution is in this phase. Fails when it never is."""
        for _ in range(most):
            if self.phases() == [phase]:
                return
            self.run(1)
        raise AssertionError(f"never {phase}: {[(each.phase.value, each.reason) for each in self.executions()]}")

    # What happens to the target

    def delete(self) -> None:
        """Delete the app, which emits nothing from then on."""
        self.world.arm.delete(self.target)
        self.silent = True

    def misconfigure(self) -> None:
        """Deploy the app without its approver, which serves at once."""
        self.provision(HITL_APPROVER_ENDPOINT=None)

    def mend(self) -> None:
        """Deploy the app with its approver again, which serves at once."""
        self.provision(HITL_APPROVER_ENDPOINT=f"{self.world.url}/approver/approve")

    def provision(self, **changes: str | None) -> None:
        """Deploy the app's variables with these changes (None leaves one out), which serve at once."""
        plain = {name: value for name, value in self.world.template_env().items() if not value.startswith("(")}
        with self.at_once():
            wanted = {name: value for name, value in {**plain, **changes}.items() if value is not None}
            self.world.arm.provision(self.target, wanted)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let what is deployed in the block serve at once."""
        arm = self.world.arm
        before, arm.ready_after = arm.ready_after, timedelta()
        yield
        arm.ready_after = before

    def event(self, number: int = 1, app: App | None = None, **changes: Any) -> Answer:
        """Post the event of a change to the app, as Event Grid does; return the answer."""
        given = {
            "id": f"e{number}",
            "topic": f"/subscriptions/{self.target.subscription}",
            "subject": self.target.app_id,
            "eventType": "Microsoft.Resources.ResourceWriteSuccess",
            "eventTime": self.world.clock.now().isoformat(),
            "data": {},
        }
        return answer("POST", {}, json.dumps([{**given, **changes}]).encode(), app or self.app)

    # What came of it

    @property
    def store(self) -> SqliteStore:
        """The state as it stands on disk."""
        return SqliteStore(self.root / ".tocsin" / "state.sqlite")

    def executions(self) -> list[Execution]:
        """Return every execution."""
        return self.store.executions()

    def phases(self) -> list[str]:
        """Return the phase of every execution."""
        return [each.phase.value for each in self.executions()]

    def alerts(self) -> dict[str, Alert]:
        """Return the open alerts by rule."""
        return {each.rule: each for each in self.store.open_alerts() if each.open}

    def audited(self) -> list[str]:
        """Return the names of what is in the audit, whose chain must be whole."""
        entries = self.store.audit()
        assert audit.broken(entries) is None
        return [entry["event"] for entry in entries]

    @property
    def patches(self) -> int:
        """How many changes the platform was asked for."""
        return len(self.world.arm.patches)

    @property
    def switch(self) -> str | None:
        """The variable as it serves."""
        return self.world.serving_env().get(SWITCH)

    def pages(self, rule: str = RULE) -> int:
        """Return how many incidents a rule opened at PagerDuty; one of a failed action has a key of its own."""
        keys = [each.key for each in self.world.pagerduty.incidents]
        return sum(1 for key in keys if key.startswith(f"{rule}/") and not key.endswith("/failed"))

    def cards(self) -> list[str]:
        """Return everything that the team's channel took, as text."""
        return [json.dumps(card, ensure_ascii=False) for _, card in self.world.teams.cards]

    def paged(self) -> list[str]:
        """Return everything that PagerDuty took, as text."""
        return [json.dumps(each, ensure_ascii=False) for each in self.world.pagerduty.received]

    def told(self, *words: str) -> int:
        """Return how many cards hold all these words."""
        return sum(1 for card in self.cards() if all(each in card for each in words))

    def right(self) -> None:
        """The switch was engaged once, proven, told, and nothing else was changed."""
        assert self.patches == 1
        assert self.switch == "on"
        assert self.phases() == ["verified"]
        assert self.pages() == 1
        assert self.told("Done and proven") == 1
        assert {"intended", "applied", "verified"} <= set(self.audited())
