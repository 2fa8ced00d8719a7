"""A stage for telling alone: alerts fire and end by word, as the evaluator would commit them; real engine and store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tests.stage import CONFIG, T0, TARGET, Receiver, Stage
from tocsin.core.ack import Acknowledgement
from tocsin.core.config import Config
from tocsin.core.fields import Severity
from tocsin.core.matching import parse
from tocsin.core.message import NEWS, Kind, Notice, Outcome, outbox
from tocsin.core.mute import Silence
from tocsin.engine.tick import Engine
from tocsin.ports import Store

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass
class People(Receiver):
    """Takes one message about several alerts, as a chat does. It cannot deduplicate."""

    together = True


@dataclass
class Program(Receiver):
    """Takes one message an alert. Whatever comes twice, or under a key it knows to be open, is one incident to it."""

    incidents: dict[str, bool] = field(default_factory=dict)
    """Key → whether it is open."""
    opened: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def deliver(self, notice: Notice) -> Outcome:
        if notice.id not in self.seen:
            self.seen.append(notice.id)
            self._note_incident(notice)
        return super().deliver(notice)

    def _note_incident(self, notice: Notice) -> None:
        if notice.kind is Kind.RESOLVED:
            self.incidents[notice.episode] = False
        elif notice.kind in (Kind.FIRED, Kind.BLIND) and not self.incidents.get(notice.episode):
            self.incidents[notice.episode] = True
            self.opened.append(notice.episode)

    @property
    def open(self) -> set[str]:
        """The incidents that nothing has closed."""
        return {key for key, still in self.incidents.items() if still}


def config(**parts: Any) -> Config:
    """Return a whole ``tocsin.yaml`` with these parts, as the file has them."""
    receivers = {name: {"type": "stdout"} for name in ("people", "program", "boss")}
    base = {"targets": [TARGET], "receivers": receivers, "routes": {"to": ["people", "program"]}}
    return Config.model_validate({**base, **parts})


@dataclass(frozen=True)
class Episode:
    """One episode of an alert."""

    rule: str
    severity: str
    target: str
    began: datetime
    labels: Mapping[str, str] = field(hash=False)

    @property
    def key(self) -> str:
        name = "-".join(self.labels.values()) or "all"
        return f"{self.rule}/{self.target}/{name}"

    @property
    def id(self) -> str:
        return f"{self.key}/{self.began:%Y%m%dT%H%M%SZ}"

    def notice(self, kind: Kind, at: datetime, *, begins: bool = False) -> Notice:
        """Return what is told of it, as the evaluator writes it."""
        title = f"{self.rule} {kind.value} on {self.target}" + "".join(f" ({each})" for each in self.labels.values())
        return Notice(
            id=f"{self.id}/{kind.value}/{at:%Y%m%dT%H%M%SZ}",
            kind=kind,
            episode=self.id,
            rule=self.rule,
            target=self.target,
            severity=Severity(self.severity),
            at=at,
            title=title,
            labels=self.labels,
            begins=begins,
            since=self.began,
        )


class Switchboard(Stage):
    """An engine that measures nothing: what happens is said. ``now`` is its clock."""

    def __init__(self, store: Store | None = None, **parts: Any) -> None:
        super().__init__(store=store, config=CONFIG)
        self.people, self.program, self.boss = People(self.note), Program(self.note), Program(self.note)
        self.receivers: dict[str, Receiver] = {"people": self.people, "program": self.program, "boss": self.boss}
        self.now = T0
        self.configure(**parts)

    def configure(self, **parts: Any) -> None:
        """Edit ``tocsin.yaml``."""
        self.project = replace(self.project, config=config(**parts))

    @property
    def engine(self) -> Engine:
        return replace(super().engine, notifiers=self.receivers)

    # What happens

    def fires(self, rule: str = "errors", severity: str = "P1", target: str = "sales", **labels: str) -> Episode:
        """Let an alert fire now."""
        episode = Episode(rule, severity, target, self.now, labels)
        self.enter(episode.notice(Kind.FIRED, self.now, begins=True))
        return episode

    def ends(self, *episodes: Episode) -> None:
        """Let them resolve now."""
        for each in episodes:
            self.enter(each.notice(Kind.RESOLVED, self.now))

    def happens(self, kind: Kind, episode: Episode) -> None:
        """Let something else happen within an episode."""
        self.enter(episode.notice(kind, self.now))

    def enter(self, notice: Notice) -> None:
        """Commit news."""
        self.inner.enqueue(outbox(notice, [NEWS], self.now))

    def silence(self, matcher: str, length: timedelta, **changes: Any) -> Silence:
        """Store a silence that begins now."""
        made = Silence("s1", (parse(matcher),), "ann", "known", self.now, self.now + length)
        made = replace(made, **changes)
        held = self.inner.kept(Silence).get(made.id)
        self.inner.keep(Silence, made.id, made, held.etag if held else None)
        return made

    def acknowledge(self, episode: Episode, lasts: timedelta = timedelta(days=1)) -> None:
        """Let a person take an episode on."""
        given = Acknowledgement(episode.id, "ann", self.now, self.now + lasts)
        held = self.inner.kept(Acknowledgement).get(episode.id)
        self.inner.keep(Acknowledgement, episode.id, given, held.etag if held else None)

    # Time

    def tick(self) -> None:
        """Tick now."""
        self.engine.tick(self.now, evaluate=False)

    def wait(self, length: timedelta, step: timedelta = MINUTE) -> None:
        """Let time pass with a tick every ``step``."""
        until = self.now + length
        while self.now < until:
            self.now = min(self.now + step, until)
            self.tick()

    def writes(self) -> list[str]:
        """Return what was written since this was last asked, heartbeats left out."""
        written = [each for each in self.happened if each != "beat"]
        self.happened.clear()
        return written

    def held(self, rule: str = "errors") -> list[str]:
        """Return why an alert was not told, each time it was noted."""
        return [str(each["why"]) for each in self.log.named("held") if str(each["alert"]).startswith(rule)]


def titles(receiver: Receiver) -> list[str]:
    """Return the titles of what was told, in order."""
    return [each.title for each in receiver.got]
