"""The operator's folder: every file of it read, built and checked against the others, in one report."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tocsin.core import inhibition_circles
from tocsin.core.config import Config
from tocsin.core.crosscheck import Known, config_problems, policy_problems, rule_problems, worst_first
from tocsin.core.errors import Problem, nearest
from tocsin.core.evals import Acceptance, Terms
from tocsin.core.kpi import Kpi
from tocsin.core.node import Node, tuned, with_texts
from tocsin.core.policy import Policy
from tocsin.core.read import Examined, M, Project, Written, build, build_what_can_be, examined
from tocsin.core.rule import Rule
from tocsin.core.selecting import all_names
from tocsin.document import Parsed, parse
from tocsin.settings import default

LARGEST = 256 * 1024
CONFIG = "tocsin.yaml"

_SETTING = re.compile(r"\$(\$)?\{(\w*)\}")


def read_project(root: Path, settings: Mapping[str, str], known: Known, config: str = CONFIG) -> Project:
    """Return everything under ``root`` that could be read, with every problem of every file.

    ``config`` is the file in place of ``tocsin.yaml``, relative to ``root``.

    Never raises for what a file holds: a bad rule is left out and named, and the others stand.
    """
    return _Reading(root, settings, known, config).written().project


def read_written(root: Path, settings: Mapping[str, str], known: Known) -> Written:
    """Return what ``read_project`` does, with the places where everything stands."""
    return _Reading(root, settings, known).written()


def read_kpis(root: Path, name: str) -> tuple[tuple[Kpi, ...], tuple[Problem, ...]]:
    """Return the ``kpis`` of an ``accelerator.yaml``, with every problem of theirs; a file without any has none.

    They are read for a report alone: what is wrong with them keeps no rule from running and no switch from its release.
    """
    return _Reading(root, {}, Known()).kpis(name)


class _Reading:
    """One reading of a folder, gathering problems as it goes."""

    def __init__(self, root: Path, settings: Mapping[str, str], known: Known, config: str = CONFIG) -> None:
        self._config_file = config
        self._root, self._settings, self._known = root, settings, known
        self._problems: list[Problem] = []
        self._digests: dict[str, str] = {}
        self._accepted: dict[str, Terms] = {}
        self._texts: dict[str, str] = {}

    def written(self) -> Written:
        """Read all files and check them against each other."""
        config, config_node, seen = self._config()
        rules = self._folder("rules", Rule, config_node)
        policies = self._folder("remediations", Policy, config_node)
        self._problems += self._unread(self._root / "tests" / "rules")
        found = self._crossed(seen, rules, policies)
        told = {(each.path, each.line, each.column) for each in self._problems}
        # What stands in for a mistake is no second one.
        self._problems += [each for each in found if (each.path, each.line, each.column) not in told]
        terms = {target.name: self._terms(target.accelerator) for target in config.targets}
        return self._gathered(_made(rules), _made(policies), (config, config_node), terms)

    def _crossed(
        self, seen: Examined[Config] | None, rules: list[Examined[Rule]], policies: list[Examined[Policy]]
    ) -> Iterator[Problem]:
        """Yield what does not fit together; of a ``tocsin.yaml`` that cannot be read nothing is known."""
        config = seen.stand_in if seen else None
        names, others = self._names("rules"), self._names("remediations")
        known = config or Config()
        for rule in rules:
            if rule.stand_in:
                yield from rule_problems(rule.stand_in, rule.node, known, self._known)
        for policy in policies:
            if policy.stand_in:
                found = policy_problems(policy.stand_in, policy.node, names, known, self._known)
                yield from (each for each in found if config or each.id not in ("unknown-receiver", "unknown-target"))
        if seen and config:
            made = [each.stand_in for each in rules if each.stand_in]
            selectable = all_names(config, made, names)
            yield from config_problems(config, seen.node, selectable, self._known, {*names, *others})
            if config.inhibit:
                yield from inhibition_circles.problems(config, made, seen.node)

    def _names(self, folder: str) -> set[str]:
        return {path.stem for path in (self._root / folder).glob("*.yaml")}

    def _config(self) -> tuple[Config, Node | None, Examined[Config] | None]:
        """Return the configuration as far as it can be used, the nodes it was made of, and all that was found."""
        read = self._document(self._root / self._config_file)
        if read.node is None:
            return Config(), None, None
        made, kept, found = build_what_can_be(Config, self._filled(read.node), not read.whole)
        self._problems += found.problems
        return made or Config(), kept, found

    def _terms(self, name: str) -> Terms:
        """Return what an ``accelerator.yaml`` asks of results; of a file with any problem, nothing but the problem."""
        if not name:
            return Terms()
        if name not in self._accepted:
            before = len(self._problems)
            read = self._document(self._root / name, name)
            made, words = self._acceptance(read, name)
            bad = len(self._problems) > before
            refused = Terms(None, f"{name} has problems: see `tocsin check`")
            self._accepted[name] = replace(refused if bad else Terms(made, words), hitl=_hitl(read.node))
        return self._accepted[name]

    def _acceptance(self, read: Parsed, name: str) -> tuple[Acceptance | None, str]:
        if read.node is not None and read.node.pairs is None:
            self._told(read.node.problem("not-a-mapping", f"a mapping was expected, found {read.node.kind}"))
        if read.node is None or (asked := read.node.get("acceptance")) is None or asked.kind == "nothing":
            return Acceptance(), f"{name} has no `acceptance`: any latency and any cost is too much"
        known = tuple(Acceptance.model_fields)
        others = [key for key, _ in asked.pairs or () if key.text not in known]
        for key in others:
            if hint := nearest(key.text or "", known):
                self._problems.append(key.problem("unknown-key", f"no key '{key.text}' here", hint, known, "keys"))
            asked = asked.without([key.text or ""])
        made, problems = build(Acceptance, asked, {}, not read.whole)
        self._problems += [*problems, *_quoted(asked.get("redteam_must_pass"))]
        missing = [key for key in ("p95_latency_ms", "cost_per_call_usd") if asked.get(key) is None]
        zero = f"; without {' and '.join(missing)}, so that any is too much" if missing else ""
        aside = f"; not checked: {', '.join(key.text or '' for key in others)}" if others else ""
        return made, f"{name}{zero}{aside}"

    def kpis(self, name: str) -> tuple[tuple[Kpi, ...], tuple[Problem, ...]]:
        """Return what ``read_kpis`` does."""
        read = self._document(self._root / name, name)
        found = []
        listed = read.node.get("kpis") if read.node is not None and read.node.pairs is not None else None
        if listed is not None and listed.items is None:
            self._told(listed.problem("wrong-kind", f"a list was expected, found {listed.kind}"))
        for item in listed.items or () if listed is not None else ():
            made, problems = build(Kpi, item, {})
            self._problems += problems
            found += [made] if made else []
        return tuple(found), tuple(self._problems)

    def _gathered(
        self,
        rules: list[tuple[Rule, Node]],
        policies: list[tuple[Policy, Node]],
        config: tuple[Config, Node | None],
        terms: Mapping[str, Terms],
    ) -> Written:
        """Leave out every rule and policy that has a problem of its own; what is wrong elsewhere does not touch it."""
        bad = {problem.path for problem in self._problems}
        kept = tuple(each for each in rules if each[0].file not in bad)
        done = tuple(each for each in policies if each[0].file not in bad)
        ids, found = tuple(rule for rule, _ in kept), worst_first(self._problems)
        made = Project(ids, tuple(policy for policy, _ in done), config[0], found, self._digests, terms)
        return Written(made, kept, done, config[1], self._texts)

    def _folder(self, name: str, model: type[M], config: Node | None) -> list[Examined[M]]:
        found = []
        self._problems += self._unread(self._root / name)
        for path in sorted((self._root / name).glob("*.yaml")):
            shown = f"{name}/{path.name}"
            read = self._document(path)
            if read.node is not None:
                node = self._tuned(read.node, config, path)
                found.append(self._model(model, node, {"id": path.stem, "file": shown}, not read.whole))
        return found

    def _unread(self, folder: Path) -> Iterator[Problem]:
        """Yield each file below a folder that looks as if it were read, and is not."""
        for path in sorted(folder.rglob("*")):
            shown = path.relative_to(self._root)
            if path.suffix.casefold() not in (".yaml", ".yml", ".json") or not path.is_file():
                continue
            if path.parent != folder:
                words = f"a folder within {folder.name}/ is not read: move the file up"
                yield Problem(str(shown), 1, 1, "bad-file-name", words)
            elif path.suffix != ".yaml":
                yield Problem(str(shown), 1, 1, "bad-file-name", "the file's name must end in .yaml")

    def _tuned(self, node: Node, config: Node | None, path: Path) -> Node:
        if path.parent.name != "rules" and path.stem in self._names("rules"):
            return node  # what is tuned by this name is the rule
        changes = config.at("tuning").get(path.stem) if config and config.get("tuning") else None
        if changes is None or changes.pairs is None or node.pairs is None:
            return node
        return tuned(node, changes)

    def _model(self, model: type[M], node: Node, extra: Mapping[str, str], incomplete: bool) -> Examined[M]:
        for name in ("id", "file"):
            key = node.key(name)
            if key is not None:
                self._problems.append(key.problem("unknown-key", f"no key '{name}' here: the file's name is the id"))
        found = examined(model, node, extra, incomplete)
        self._problems += [_named(problem, node, extra) for problem in found.problems]
        return found

    def _document(self, path: Path, name: str = "") -> Parsed:
        shown = name or str(path.relative_to(self._root))
        try:
            if path.stat().st_size > LARGEST:
                message = f"the file is larger than {LARGEST // 1024} KiB"
                return self._told(Problem(shown, 1, 1, "too-large", message))
            data = path.read_bytes()
        except OSError as error:
            return self._told(Problem(shown, 1, 1, "no-file", f"the file cannot be read: {error.strerror}"))
        self._digests[shown] = hashlib.sha256(data).hexdigest()[:12]
        self._texts[shown] = data.decode("utf-8-sig", "replace")
        read = parse(shown, data)
        self._problems += read.problems
        return read

    def _told(self, problem: Problem) -> Parsed:
        self._problems.append(problem)
        return Parsed(None, (problem,))

    def _filled(self, node: Node) -> Node:
        """Put app settings, or their defaults, in the place of ``${NAME}``; ``$${NAME}`` stands for itself."""
        texts: dict[int, str] = {}
        for scalar in node.scalars():
            if "${" in (scalar.text or ""):
                texts[id(scalar)] = _SETTING.sub(partial(self._setting, scalar), scalar.text or "")
        return with_texts(node, texts)

    def _setting(self, scalar: Node, match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        value = self._settings.get(match[2], "").strip() or default(match[2])
        if value is None:
            message = f"the app setting '{match[2]}' is not set"
            self._problems.append(scalar.problem("missing-setting", message))
        return "unset" if value is None else value


def _quoted(flag: Node | None) -> Iterator[Problem]:
    """Yield that a flag is a text: any is true to the accelerator, ``"false"`` too."""
    if flag is not None and flag.source[flag.column - 1 : flag.column] in ("'", '"'):
        yield flag.problem("bad-flag", "a quoted text is true to the accelerator, whatever it says: write it bare")


def _hitl(node: Node | None) -> str:
    """Return what an ``accelerator.yaml`` says of human approval; empty where it says nothing."""
    solution = node.get("solution") if node is not None else None
    found = solution.get("hitl") if solution is not None else None
    return (found.text or "") if found is not None else ""


def _made(found: Sequence[Examined[M]]) -> list[tuple[M, Node]]:
    return [(each.made, each.node) for each in found if each.made is not None]


def _named(problem: Problem, node: Node, extra: Mapping[str, str]) -> Problem:
    """A name that is the file's own is a problem of the file's name, not of its first line."""
    if problem.id == "bad-name" and extra and (problem.line, problem.column) == (node.line, node.column):
        message = f"'{extra['id']}' cannot be an id: small letters, digits and _, a letter first"
        return Problem(problem.path, 1, 1, "bad-file-name", message)
    return problem
