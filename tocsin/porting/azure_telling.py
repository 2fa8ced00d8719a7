"""How a log alert of Azure ends, what it looks at, and who hears of it."""

from __future__ import annotations

import re
from datetime import timedelta

from tocsin.core.node import Node
from tocsin.core.units import spell
from tocsin.porting.azure_times import length, resolves_after
from tocsin.porting.draft import Draft
from tocsin.porting.outcome import Fields, Gathering

RESERVED = frozenset({"rule", "severity", "target", "alertname"})
"""Labels that every alert here has."""


class Telling:
    """The end of one alert and its actions, read into a draft."""

    def __init__(self, told: Gathering, draft: Draft, every: timedelta) -> None:
        self.told, self.draft, self.every = told, draft, every

    def read(self, properties: Fields) -> None:
        """Read what follows once the condition is met."""
        self._end(properties)
        self._actions(properties)

    def _end(self, properties: Fields) -> None:
        named, place = properties.named("autoMitigate"), properties.place("autoMitigate")
        auto = properties.text("autoMitigate").casefold() != "false"
        after = self._resolving(properties) or (resolves_after(self.every) if self.every else timedelta())
        if auto:
            self.draft.keep = after
            words = f"Azure resolves {spell(after)} after the condition was last met, as often as it looks"
            if self.draft.in_:
                words += ": of several periods the condition holds until enough of them are gone"
            self.told.differs("resolve-delay", named, place, words)
        else:
            words = (
                "Azure fires anew at every look while the condition is met, and resolves nothing; here it is one alert "
                "that ends at the first clear look, and is told again by `repeat_interval`"
            )
            self.told.differs("stateless", named, place, words)
        mute = properties.text("muteActionsDuration")
        if mute and mute != "PT0S":
            place = properties.place("muteActionsDuration")
            words = f"Azure is quiet for {mute} once it has told; here an alert that goes on is told again by the "
            words += "route's `repeat_interval`, and one that ends and comes back at once"
            self.told.differs("mute", properties.named("muteActionsDuration"), place, words)

    def _resolving(self, properties: Fields) -> timedelta | None:
        for name in ("resolveConfiguration", "ruleResolveConfiguration"):
            found = properties.inside(name)
            if found is not None:
                auto, after = found.text("autoResolved"), length(found.text("timeToResolve"))
                found.finish()
                self.told.carried.append(found.path)
                return after if auto.casefold() != "false" else None
        return None

    def _actions(self, properties: Fields) -> None:
        scopes = properties.loose("scopes")
        if scopes is not None:
            words = "what it looks at are here all targets, or those of `targets`: rows of other roles are not seen"
            self.told.differs("scope", properties.named("scopes"), scopes, words)
        kinds = properties.loose("targetResourceTypes")
        if kinds is not None and (kinds.items or kinds.text):
            words = "Azure gives each resource of these types an alert of its own; here a target is one application"
            self.told.differs("per-resource", properties.named("targetResourceTypes"), kinds, words)
        found = properties.loose("actions")
        if found is None:
            return
        if found.pairs is None:
            self._groups(found, properties.named("actions"))
            return
        actions = properties.below(found, properties.named("actions"))
        groups = actions.loose("actionGroups")
        if groups is not None:
            self._groups(groups, actions.named("actionGroups"))
        self._labels(actions)
        actions.left(("actionProperties",), "who-is-told", "the words of a mail are the receiver's own here")
        actions.finish()

    def _groups(self, groups: Node, named: str) -> None:
        names = [re.findall(r"[\w.-]+", each.text or "")[-1] for each in groups.items or () if each.text]
        told = f" ({', '.join(names)})" if names else ""
        words = f"whom the action groups{told} tell is said by `routes` and `receivers` in tocsin.yaml"
        self.told.differs("who-is-told", named, groups, words)

    def _labels(self, actions: Fields) -> None:
        custom = actions.loose("customProperties")
        for key, value in (custom.pairs or ()) if custom is not None else ():
            named = f"{actions.named('customProperties')}.{key.text}"
            if key.text in RESERVED:
                words = f"every alert here has a `{key.text}` of its own: it is left out"
                self.told.differs("labels", named, value, words)
            elif value.text and "${" not in value.text and not value.text.startswith("["):
                self.draft.labels[re.sub(r"\W", "_", key.text or "")] = value.text
                self.told.differs("labels", named, value, "it is a label here, which routes can choose by")
            else:
                self.told.differs("labels", named, value, "it is filled in when it fires: labels are no templates")
