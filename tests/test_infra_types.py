"""The Bicep under infra/ without its compiler: Azure's own types allow all of it, and its names lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import DATA, ROOT
from tests.infra.linking import Linker
from tests.infra.reading import Array, Choice, Condition, Declared, File, Loop, Node, Object, parse, read
from tests.infra.types import BICEP_OWN, Checker, Types

INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))

UNTYPED = {
    "Microsoft.EventGrid/topics": "named alone, as what a role is granted at",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": "its two names, and one truth",
    "Microsoft.Network/privateDnsZones": "a name, a place and tags",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "a network's id",
}
"""What has no type beside the repository, and why it is let through; the real compiler looks at it."""


@pytest.fixture(scope="module")
def types() -> Types:
    folder = DATA / "bicep-types"
    if not folder.is_dir():
        pytest.skip("Azure's types are not here: ../shared/data/bicep-types")
    return Types(folder)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_every_resource_is_what_azure_takes(path: Path, types: Types) -> None:
    found = [each for each in Checker(types, read(path)).problems() if each.kind != "no type"]
    assert [str(each) for each in found] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_every_name_leads_somewhere(path: Path) -> None:
    there = DATA / "bicep-types"
    assert Linker(read(path), Types(there) if there.is_dir() else None).problems() == []


def test_what_cannot_be_looked_at_is_known(types: Types) -> None:
    found = [each for path in FILES for each in Checker(types, read(path)).problems() if each.kind == "no type"]
    assert {each.words.partition("@")[0] for each in found} == UNTYPED.keys()


def test_every_module_is_used_and_every_file_is_one() -> None:
    tops = [INFRA / "main.bicep", INFRA / "events.bicep"]
    named = {(path.parent / each.type).resolve() for path in FILES for each in read(path).of("module").values()}
    assert named == {path.resolve() for path in FILES} - {path.resolve() for path in tops}


# One slip of each kind


ACCOUNT = "resource s 'Microsoft.Storage/storageAccounts@2026-04-01' = {\n  name: 'account'\n  location: 'y'\n"
SKU = "  kind: 'StorageV2'\n  sku: { name: 'Standard_LRS' }\n"
EXISTING = "resource s 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {\n"
SUBSCRIPTION = "resource s 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {\n  name: 'x/y'\n"
RULE = "resource r 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = {\n  name: 'x'\n  location: 'y'\n"
PLANTED = {
    "a property there is not": (f"{ACCOUNT}{SKU}  properties: {{ allowSharedKeys: false }}\n}}", "unknown"),
    "one of a property": (
        f"{ACCOUNT}{SKU}  properties: {{ networkAcls: {{ defaultAction: 'Deny', bypas: 'None' }} }}\n}}",
        "unknown",
    ),
    "one at the top": (f"{ACCOUNT}{SKU}  propertys: {{}}\n}}", "unknown"),
    "other small and capital letters": (f"{ACCOUNT}{SKU}  Properties: {{}}\n}}", "unknown"),
    "nothing where something must be": (f"{ACCOUNT}  kind: 'StorageV2'\n}}", "missing"),
    "nothing within something": (f"{ACCOUNT}  kind: 'StorageV2'\n  sku: {{}}\n}}", "missing"),
    "what the platform sets": (f"{ACCOUNT}{SKU}  properties: {{ creationTime: 'x' }}\n}}", "read-only"),
    "a text for a truth": (f"{ACCOUNT}{SKU}  properties: {{ allowSharedKeyAccess: 'false' }}\n}}", "mistyped"),
    "a word that is not listed": (f"{ACCOUNT}  kind: 'StorageV3'\n  sku: {{ name: 'Standard_LRS' }}\n}}", "mistyped"),
    "a word not listed, in one branch": (
        f"param z bool\n{ACCOUNT}  kind: 'StorageV2'\n  sku: {{ name: z ? 'Standard_LRS' : 'standard_lrs2' }}\n}}",
        "mistyped",
    ),
    "a word not listed, among those allowed": (
        f"@allowed(['Hot', 'Luke'])\nparam t string\n{ACCOUNT}{SKU}  properties: {{ accessTier: t }}\n}}",
        "mistyped",
    ),
    "a parameter of another kind": (
        f"param n int\n{ACCOUNT}{SKU}  properties: {{ allowBlobPublicAccess: n }}\n}}",
        "mistyped",
    ),
    "a number for a text in a map": (f"{ACCOUNT}{SKU}  tags: {{ a: 1 }}\n}}", "mistyped"),
    "an object for a list": (
        f"{RULE}  properties: {{ scopes: {{}} }}\n}}",
        "mistyped",
    ),
    "a slip in an item of a list": (
        f"{RULE}  properties: {{ criteria: {{ allOf: [{{ query: 'x', treshold: 1 }}] }} }}\n}}",
        "unknown",
    ),
    "a slip in an item made by a loop": (
        f"var q = [for x in ['a']: {{ query: 1 }}]\n{RULE}  properties: {{ criteria: {{ allOf: q }} }}\n}}",
        "mistyped",
    ),
    "a slip in what is merged": (
        f"var a = union({{ accessTier: 'Hot' }}, {{ accesTier: 'Cool' }})\n{ACCOUNT}{SKU}  properties: a\n}}",
        "unknown",
    ),
    "a kind of object there is not": (
        f"{SUBSCRIPTION}  properties: {{ destination: {{ endpointType: 'AzureFunctions' }} }}\n}}",
        "mistyped",
    ),
    "an object without its kind": (
        f"{SUBSCRIPTION}  properties: {{ destination: {{ properties: {{}} }} }}\n}}",
        "missing",
    ),
    "a property of another kind of object": (
        f"{SUBSCRIPTION}  properties: {{ destination: {{ endpointType: 'AzureFunction'\n"
        "properties: { endpointUrl: 'x' } } }\n}",
        "unknown",
    ),
    "another version": (f"{EXISTING.replace('2026-04', '2023-01')}  name: 'x'\n}}", "other version"),
    "a type there is not": (f"{EXISTING.replace('storageA', 'a')}  name: 'x'\n}}", "no type"),
    "something there without its name": (f"{EXISTING}}}", "missing"),
    "a description that is no text": (f"{RULE}  properties: {{ description: 1 }}\n}}", "mistyped"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_slip_is_found(name: str, types: Types) -> None:
    text, kind = PLANTED[name]
    assert [each.kind for each in Checker(types, parse(text)).problems()] == [kind]


def test_what_is_right_is_let_through(types: Types) -> None:
    text = f"param t string\n{ACCOUNT}{SKU}  properties: {{ accessTier: t, networkAcls: null }}\n  tags: {{ a: t }}\n}}"
    assert Checker(types, parse(text)).problems() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_any_property_misspelt_would_be_found(path: Path, types: Types) -> None:
    """Shows that the checker looks at every property that is written, however deep."""
    file = read(path)
    for declared in file.of("resource").values():
        if types.of(declared.type.partition("@")[0]) is None or declared.existing:
            continue
        for changed, key in misspelt(declared.body):
            if declared.type.startswith("Microsoft.Insights/metricAlerts") and key.startswith(
                "properties.criteria.allOf"
            ):
                continue  # a condition may have any property, says its type
            one = replace(declared, given=changed)
            found = Checker(types, File(file.path, tuple(each for each in file.declared if each != declared)))
            kinds = {each.kind for each in found.resource(one)}
            assert kinds & {"unknown", "missing"}, f"{declared.name}: {key}"


FREE = {"tags", "userAssignedIdentities", "${…}"}
"""Whatever may be called as one likes."""


def misspelt(given: Node) -> Iterator[tuple[Node, str]]:
    """Yield a tree again and again, each time with another of its keys misspelt."""
    if isinstance(given, Object):
        for at, (key, value) in enumerate(given.entries):
            if not isinstance(key, str) or key in BICEP_OWN:
                continue
            before, after = given.entries[:at], given.entries[at + 1 :]
            yield replace(given, entries=(*before, (f"{key}X", value), *after)), key
            for changed, within in misspelt(value) if key not in FREE else ():
                yield replace(given, entries=(*before, (key, changed), *after)), f"{key}.{within}"
    elif isinstance(given, Array):
        for at, item in enumerate(given.items):
            for changed, within in misspelt(item):
                yield replace(given, items=(*given.items[:at], changed, *given.items[at + 1 :])), within
    elif isinstance(given, Loop | Condition):
        for changed, within in misspelt(given.body):
            yield replace(given, body=changed), within
    elif isinstance(given, Choice):
        for changed, within in misspelt(given.yes):
            yield replace(given, yes=changed), within


NAMES = {
    "nothing of that name": ("var a = b\nvar c = a\noutput o string = c", "nothing is called b"),
    "a function there is not": ("output o string = uniqeString('x')", "no function uniqeString"),
    "a parameter nobody uses": ("param a string", "nothing uses a"),
    "twice the same name": ("param a string\nvar a = 'x'\noutput o string = a", "a is declared 2 times"),
    "a module's parameter there is not": (
        "module m 'modules/watched-workspace.bicep' = {\n  name: 'm'\n"
        "  params: { name: 'n', readerPrincipalId: 'x', nme: 'y' }\n}",
        "has no parameter nme",
    ),
    "a module without what it needs": (
        "module m 'modules/watched-workspace.bicep' = {\n  name: 'm'\n  params: { name: 'n' }\n}",
        "needs readerPrincipalId",
    ),
    "a module's parameter of another kind": (
        "module m 'modules/watched-workspace.bicep' = {\n  name: 'm'\n  params: { name: 'n', readerPrincipalId: 1 }\n}",
        "readerPrincipalId is a string",
    ),
    "a module's output there is not": (
        "module m 'modules/watched-workspace.bicep' = {\n  name: 'm'\n"
        "  params: { name: 'n', readerPrincipalId: 'x' }\n}\noutput o string = m.outputs.ids",
        "has no output ids",
    ),
    "a secret where it would be shown": (
        "@secure()\nparam s string\nmodule m 'modules/watched-workspace.bicep' = {\n  name: 'm'\n"
        "  params: { name: s, readerPrincipalId: 'x' }\n}",
        "name is not secure, and s is",
    ),
    "a property of a resource there is not": (
        "resource v 'Microsoft.KeyVault/vaults@2026-02-01' existing = {\n  name: 'x'\n}\n"
        "output o string = v.properties.vaultUrl",
        "has no properties.vaultUrl",
    ),
    "a name that is known too late": (
        "resource v 'Microsoft.KeyVault/vaults@2026-02-01' existing = {\n  name: 'x'\n}\n"
        "var u = v.properties.vaultUri\n"
        "resource w 'Microsoft.KeyVault/vaults@2026-02-01' existing = {\n  name: guid(u)\n}\noutput o string = w.id",
        "w rests on v.properties.vaultUri",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_slip_in_names_is_found(name: str, types: Types) -> None:
    text, words = NAMES[name]
    (found,) = Linker(parse(text, INFRA / "given.bicep"), types).problems()
    assert words in found


def test_what_is_no_bicep_is_refused() -> None:
    for text in ("param a string =", "var a = { b: }", "var a = ['x' 'y']", "resource r = {}"):
        with pytest.raises(SyntaxError):
            parse(text)


def test_an_access_binds_closer_than_an_operator() -> None:
    given = parse("var a = b ?? c().d\nvar e = f => f.g").of("var")
    assert type(given["a"].given).__name__ == "Operation"
    assert type(given["e"].given).__name__ == "Lambda"


def _declared(text: str) -> Declared:
    return parse(text).declared[0]


def test_a_text_is_read_with_its_edges_and_escapes() -> None:
    assert _declared("var a = ' '").given.value == " "  # type: ignore[union-attr]
    assert _declared(r"var a = ' it\'s ${b} '").given.parts[0] == " it's "  # type: ignore[union-attr]
    assert _declared("var a = '''\nb${c}'''").given.value == "\nb${c}"  # type: ignore[union-attr]
