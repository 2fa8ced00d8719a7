"""The operator's files, read strictly: YAML 1.2 without anchors, tags or duplicate keys, of bounded size and depth."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tocsin.core.config import Config
from tocsin.core.crosscheck import Known, config_problems, policy_problems, rule_problems, worst_first
from tocsin.core.errors import Problem
from tocsin.core.node import Node, tuned, with_texts
from tocsin.core.policy import Policy
from tocsin.core.read import M, Project, build, build_what_can_be
from tocsin.core.rule import Rule

LARGEST = 256 * 1024
DEEPEST = 20
CONFIG = "tocsin.yaml"

_SETTING = re.compile(r"\$(\$)?\{(\w*)\}")


class Unreadable(Exception):
    """A file that is no document; holds the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_project(root: Path, settings: Mapping[str, str], known: Known) -> Project:
    """Return everything under ``root`` that could be read, with every problem of every file.

    Never raises for what a file holds: a bad rule is left out and named, and the others stand.
    """
    return _Reading(root, settings, known).project()


class _Reading:
    """One reading of a folder, gathering problems as it goes."""

    def __init__(self, root: Path, settings: Mapping[str, str], known: Known) -> None:
        self._root, self._settings, self._known = root, settings, known
        self._problems: list[Problem] = []
        self._digests: dict[str, str] = {}

    def project(self) -> Project:
        """Read all files and check them against each other."""
        config_node = self._document(self._root / CONFIG)
        config_node = self._filled(config_node) if config_node else None
        config = self._config(config_node) if config_node else Config()
        rules = self._folder("rules", Rule, config_node)
        policies = self._folder("remediations", Policy, None)
        names = {path.stem for path in (self._root / "rules").glob("*.yaml")}
        for rule, node in rules:
            self._problems += rule_problems(rule, node, config, self._known)
        for policy, node in policies:
            self._problems += policy_problems(policy, node, names, config, self._known)
        if config_node:
            self._problems += config_problems(config, config_node, names, self._known)
        return self._gathered([rule for rule, _ in rules], [policy for policy, _ in policies], config)

    def _config(self, node: Node) -> Config:
        made, problems = build_what_can_be(Config, node)
        self._problems += problems
        return made or Config()

    def _gathered(self, rules: list[Rule], policies: list[Policy], config: Config) -> Project:
        """Leave out every rule and policy that has a problem of its own; what is wrong elsewhere does not touch it."""
        bad = {problem.path for problem in self._problems}
        kept_rules = tuple(rule for rule in rules if rule.file not in bad)
        kept_policies = tuple(policy for policy in policies if policy.file not in bad)
        return Project(kept_rules, kept_policies, config, worst_first(self._problems), self._digests)

    def _folder(self, name: str, model: type[M], config: Node | None) -> list[tuple[M, Node]]:
        found = []
        for path in sorted((self._root / name).glob("*.y*ml")):
            shown = f"{name}/{path.name}"
            if path.suffix != ".yaml":
                self._problems.append(Problem(shown, 1, 1, "bad-file-name", "the file's name must end in .yaml"))
                continue
            node = self._document(path)
            node = self._tuned(node, config, path.stem) if node else None
            made = self._model(model, node, {"id": path.stem, "file": shown}) if node else None
            if made is not None and node is not None:
                found.append((made, node))
        return found

    def _tuned(self, node: Node, config: Node | None, name: str) -> Node:
        changes = config.at("tuning").get(name) if config and config.get("tuning") else None
        if changes is None or changes.pairs is None or node.pairs is None:
            return node
        return tuned(node, changes)

    def _model(self, model: type[M], node: Node, extra: Mapping[str, str]) -> M | None:
        for name in ("id", "file"):
            key = node.key(name)
            if key is not None and extra:
                self._problems.append(key.problem("unknown-key", f"no key '{name}' here: the file's name is the id"))
        made, problems = build(model, node, extra)
        self._problems += [_named(problem, node, extra) for problem in problems]
        return made

    def _document(self, path: Path) -> Node | None:
        shown = str(path.relative_to(self._root))
        try:
            data = path.read_bytes() if path.stat().st_size <= LARGEST else None
            if data is None:
                raise Unreadable(Problem(shown, 1, 1, "too-large", f"the file is larger than {LARGEST // 1024} KiB"))
            self._digests[shown] = hashlib.sha256(data).hexdigest()[:12]
            return parse(shown, data)
        except Unreadable as error:
            self._problems.append(error.problem)
        except OSError as error:
            self._problems.append(Problem(shown, 1, 1, "no-file", f"the file cannot be read: {error.strerror}"))
        return None

    def _filled(self, node: Node) -> Node:
        """Put app settings in the place of ``${NAME}``; ``$${NAME}`` stands for itself."""
        texts: dict[int, str] = {}
        for scalar in node.scalars():
            if "${" in (scalar.text or ""):
                texts[id(scalar)] = _SETTING.sub(partial(self._setting, scalar), scalar.text or "")
        return with_texts(node, texts)

    def _setting(self, scalar: Node, match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        value = self._settings.get(match[2], "").strip()
        if not value:
            message = f"the app setting '{match[2]}' is not set"
            self._problems.append(scalar.problem("missing-setting", message))
        return value or "unset"


def _named(problem: Problem, node: Node, extra: Mapping[str, str]) -> Problem:
    """A name that is the file's own is a problem of the file's name, not of its first line."""
    if problem.id == "bad-name" and extra and (problem.line, problem.column) == (node.line, node.column):
        message = f"'{extra['id']}' cannot be an id: small letters, digits and _, a letter first"
        return Problem(problem.path, 1, 1, "bad-file-name", message)
    return problem


# YAML


def parse(path: str, data: bytes) -> Node:
    """Return the one document in ``data``. Raises ``Unreadable`` with the place of what is wrong."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable(Problem(path, line, 1, "not-utf8", "the file is not UTF-8")) from None
    return _Builder(path, text).document()


@dataclass(slots=True)
class _Builder:
    """Builds nodes from the parser's events, so that what is refused is never expanded."""

    path: str
    text: str
    depth: int = 0

    def document(self) -> Node:
        """Return the one document."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            events = YAML(typ="safe", pure=True).parse(self.text)
            return self._only(iter(events))
        except MarkedYAMLError as error:
            raise self._refused(error.problem_mark or error.context_mark, "syntax", _first(error)) from None
        except YAMLError as error:
            raise self._refused(None, "syntax", _first(error)) from None

    def _only(self, events: Iterator[Any]) -> Node:
        found: Node | None = None
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent" and found is not None:
                raise self._refused(event.start_mark, "second-document", "a file holds one document")
            if kind in ("MappingStartEvent", "SequenceStartEvent", "ScalarEvent", "AliasEvent"):
                found = self._node(event, events)
        if found is None or found.text == "":
            raise self._refused(None, "empty-file", "the file is empty")
        return found

    def _node(self, event: Any, events: Iterator[Any]) -> Node:
        kind = type(event).__name__
        if kind == "AliasEvent" or event.anchor is not None:
            raise self._refused(event.start_mark, "anchor", "anchors and aliases are not taken: write it out")
        if event.tag is not None:
            raise self._refused(event.start_mark, "tag", f"tags are not taken, found {event.tag}")
        if kind == "ScalarEvent":
            return self._made(event, text=_scalar(event))
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._refused(event.start_mark, "too-deep", f"nested deeper than {DEEPEST}")
        node = self._mapping(event, events) if kind == "MappingStartEvent" else self._list(event, events)
        self.depth -= 1
        return node

    def _mapping(self, start: Any, events: Iterator[Any]) -> Node:
        pairs: list[tuple[Node, Node]] = []
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._node(event, events)
            if key.text is None:
                raise Unreadable(key.problem("bad-key", f"a key is a text, found {key.kind}"))
            if any(other.text == key.text for other, _ in pairs):
                raise Unreadable(key.problem("duplicate-key", f"'{key.text}' is there twice"))
            pairs.append((key, self._node(next(events), events)))
        return self._made(start, pairs=tuple(pairs))

    def _list(self, start: Any, events: Iterator[Any]) -> Node:
        items: list[Node] = []
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            items.append(self._node(event, events))
        return self._made(start, items=tuple(items))

    def _made(self, event: Any, **value: Any) -> Node:
        mark, end = event.start_mark, event.end_mark
        width = end.column - mark.column if end.line == mark.line else 1
        return Node(self.path, mark.line + 1, mark.column + 1, self._line(mark.line), width=max(1, width), **value)

    def _line(self, number: int) -> str:
        lines = self.text.splitlines()
        return lines[number][:200] if number < len(lines) else ""

    def _refused(self, mark: Any, identity: str, message: str) -> Unreadable:
        line, column = (mark.line, mark.column) if mark else (0, 0)
        return Unreadable(Problem(self.path, line + 1, column + 1, identity, message, self._line(line)))


def _scalar(event: Any) -> str:
    """Return the text as typed; an unquoted null is an empty text."""
    return "" if event.style is None and event.value in ("~", "null", "Null", "NULL") else str(event.value)


def _first(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return str(problem)
