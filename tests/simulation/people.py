"""Everybody else: who deploys, switches by hand or by command, consents, edits files; and what simply happens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from tests.simulation import hostile, platform, setting
from tests.simulation.chance import MINUTE
from tests.simulation.platform import Apps
from tests.simulation.seams import Process
from tests.simulation.setting import APPROVER, SWITCH
from tocsin.core import container
from tocsin.core.action import Order
from tocsin.core.audit import Author, Record, Via
from tocsin.core.config import Target
from tocsin.core.matching import Matcher
from tocsin.core.mute import Silence
from tocsin.core.remedy import Consent, Phase
from tocsin.engine import personal, switches
from tocsin.telemetry.container_app import ContainerAppConfiguration

if TYPE_CHECKING:
    from tests.simulation.world import World

ANN = "person ann"
_SCOPE = {"scope": "tools"}


class People:
    """Acts upon the world, by lot or in the end to put everything right."""

    def __init__(self, world: World) -> None:
        self.world = world
        often: list[tuple[int, Callable[[Target], None]]] = [
            (5, self.light),
            (3, self.quench),
            (3, self.deploy),
            (2, self.provision),
            (2, self.by_hand),
            (2, self.command),
            (4, self.consent),
            (2, self.throw),
            (1, self.edit),
            (2, self.silence),
            (1, self.lag),
            (3, self.receiver),
            (2, self.hush),
            (2, self.fail),
            (3, self.post),
            (1, self.spoil),
        ]
        self.lots = [what for weight, what in often for _ in range(weight)]

    def act(self, when: str = "") -> None:
        """Let one thing happen."""
        if when:
            self.world.tell("world", f"moves {when}")
        self.world.chance.one(self.lots)(self.world.chance.one(self.world.targets))

    # What happens to a target

    def light(self, target: Target) -> None:
        """Let its tools run without an approver."""
        self.world.truth[target.name].light(self.world.now)
        self.world.tell("world", f"{target.name} burns")

    def quench(self, target: Target) -> None:
        """Let them run with one again."""
        self.world.truth[target.name].quench(self.world.now)
        self.world.tell("world", f"{target.name} burns no more")

    def silence(self, target: Target) -> None:
        """Let none of its telemetry arrive for a while."""
        now, length = self.world.now, self.world.chance.whole(3, 14) * MINUTE
        self.world.truth[target.name].silent.append((now, now + length))
        self.world.tell("world", f"{target.name} falls silent for {length}")

    def lag(self, target: Target) -> None:
        """Let its telemetry arrive later, or at once."""
        self.world.truth[target.name].lag = self.world.chance.whole(0, 2) * MINUTE
        self.world.tell("world", f"telemetry of {target.name} takes {self.world.truth[target.name].lag}")

    # Who changes the app

    def deploy(self, target: Target) -> None:
        """Deploy another image, with the variables as they are."""
        template = self.world.arm.template(target)
        template["containers"][0]["image"] = f"registry.example/api:{self.world.version[target.name]}"
        self._change(target, template, "deploys an image to")

    def provision(self, target: Target) -> None:
        """Deploy the variables as the template in the repository has them, perhaps without an approver."""
        template = self.world.arm.template(target)
        env = dict(APPROVER) if self.world.chance.one((True, True, False)) else {}
        env["RELEASE"] = str(self.world.version[target.name])
        _set(template, env)
        self._change(target, template, "provisions" if APPROVER.keys() <= env.keys() else "provisions, no approver,")

    def by_hand(self, target: Target) -> None:
        """Set the switch as the printed command does."""
        template = self.world.arm.template(target)
        value = self.world.chance.one(("on", "off"))
        _set(template, {**self.world.arm.template_env(target), SWITCH: value})
        self._change(target, template, f"sets {SWITCH}={value} by hand on")

    def _change(self, target: Target, template: dict[str, Any], words: str) -> None:
        world = self.world
        if world.arm._settled(world.arm._app(target)).provisioning(world.now) == "InProgress":
            return
        world.rollout()
        world.arm.set_template(target, template)
        world.changed(target)
        world.tell("somebody", f"{words} {target.name}")
        world.story.count("deployment")
        # Where traffic is shared out, what was written last is not what serves, and the switch goes onto what serves.
        if world.arm._app(target).multiple or not container.engaged(world.arm.template_env(target).get(SWITCH)):
            world.witness.taken_away(target)

    def command(self, target: Target) -> None:
        """Engage or release by the command line."""
        verb = self.world.chance.one(("engage", "release", "release"))
        self.carry_out(target, verb)

    def carry_out(self, target: Target, verb: str) -> None:
        """Do what the command does: record, do, record."""
        world, store = self.world, self.world.store
        apps = Apps(world, Process("ann", world.witness.moment, world.project, world.now))
        detail = {**_SCOPE, "reason": "the drill of this week"}
        store.record(None, [Record(world.clock, ANN, f"{verb} intended", target.name, "killswitch", detail)])
        if verb == "release":
            switches.released(store, target, "tools")
            world.witness.released(target)
        world.tell("ann", f"{verb}s {target.name} by command")
        outcome = platform.switch(apps, verb == "engage").apply(Order(f"person/{target.name}/{verb}", target, _SCOPE))
        if not container.engaged(world.arm.template_env(target).get(SWITCH)):
            world.witness.taken_away(target)
        done = {**_SCOPE, "detail": outcome.detail}
        store.record(None, [Record(world.clock, ANN, f"{verb} {outcome.did.value}", target.name, "killswitch", done)])
        if verb == "engage" and container.verify(platform.read(world, target), SWITCH, True).holds:
            switches.engaged(store, ContainerAppConfiguration(apps), target, "tools", ANN, world.clock)

    # Who decides

    def consent(self, target: Target) -> None:
        """Consent to what is asked."""
        world = self.world
        for each in world.store.executions():
            if each.phase is Phase.ASKED and each.consent is None:
                given = replace(each, version=each.version + 1, consent=Consent("ann", world.clock))
                detail = {"correlation": each.id, "episode": each.episode}
                world.store.record(given, [Record(world.clock, ANN, "consented", each.target, each.id, detail)])
                world.tell("ann", f"consents to {each.id}")
                world.story.count("consent")
                return

    def throw(self, target: Target) -> None:
        """Set the switch above all."""
        word = self.world.chance.one(("act", "act", "act", "ask", "off"))
        self.world.project = setting.automation(self.world.project, word)
        self.world.tell("ann", f"sets automation: {word}")

    def edit(self, target: Target) -> None:
        """Put other policies into the files."""
        self.world.project = replace(self.world.project, policies=setting.policies(self.world.chance))
        words = ", ".join(f"{each.id} ({each.guard.mode.value})" for each in self.world.project.policies)
        self.world.tell("ann", f"edits policies: {words}")

    def receiver(self, target: Target) -> None:
        """Let a receiver go away, or come back."""
        name = self.world.chance.one(sorted(self.world.inboxes))
        inbox = self.world.inboxes[name]
        inbox.away = not inbox.away
        self.world.tell(name, "is away" if inbox.away else "is back")

    def hush(self, target: Target) -> None:
        """Silence the target or one of its rules, actions too: for a while, or an hour's part again and again."""
        world, chance = self.world, self.world.chance
        ends, rule = world.clock + chance.whole(4, 12) * MINUTE, chance.one(("", "", "killswitch_drift"))
        matchers = (Matcher("target", "=", (target.name,)), *([Matcher("rule", "=", (rule,))] if rule else []))
        number = f"s{world.witness.moment}"
        given = Silence(number, matchers, "ann", "a test of load", world.clock, ends, actions=True)
        spans: tuple[tuple[datetime, datetime], ...] = ((world.clock, ends),)
        kind = chance.one(("once", "once", "recurring", "senseless"))
        if kind == "recurring":
            given, spans = hostile.recurring(world, given)
        elif kind == "senseless":
            given, spans = hostile.senseless(given), ()
        personal.silence(world.store, given, Author("ann", Via.CLI), world.clock)
        world.witness.silenced(target, rule, spans)
        world.tell("ann", f"silences {rule or 'all'} of {target.name} from {given.starts:%d %H:%M} on, {kind}")
        world.story.count(f"silence, {kind}")

    # What nobody expects

    def fail(self, target: Target) -> None:
        """Let agents fail whose names are hostile, or that are too many."""
        if setting.AGENTS in self.world.project.rules:
            hostile.fail(self.world, target, self.world.chance.whole(2, 8))

    def post(self, target: Target) -> None:
        """Let Azure Monitor post an alert of its own."""
        self.world.senders.act(target)

    def spoil(self, target: Target) -> None:
        """Let a row of the store become unreadable."""
        hostile.spoil(self.world)

    def put_right(self) -> None:
        """End everything that is wrong."""
        world = self.world
        world.project = setting.automation(world.project, "act")
        for inbox in world.inboxes.values():
            inbox.away = False
        for target in world.targets:
            truth = world.truth[target.name]
            truth.quench(world.now)
            truth.lag, truth.silent = timedelta(), [(start, min(end, world.now)) for start, end in truth.silent]
            world.arm._app(target).operation = None
            template = world.arm.template(target)
            _set(template, {**world.arm.template_env(target), **APPROVER, "HEALED": "1"})
            self._change(target, template, "puts right")


def _set(template: dict[str, Any], env: dict[str, str]) -> None:
    """Write variables in the place of all that are no references."""
    watched = copy.deepcopy(template["containers"][0])
    kept = [entry for entry in watched["env"] if "secretRef" in entry]
    plain = {name: value for name, value in env.items() if not value.startswith("(")}
    template["containers"][0]["env"] = [*kept, *({"name": name, "value": value} for name, value in plain.items())]
