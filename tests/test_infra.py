"""The infrastructure and the code say the same: settings, roles, queues, events, secrets, and what alerts ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import DATA, ROOT
from tests.infra.meaning import Meaning
from tests.infra.reading import (
    Array,
    Call,
    Choice,
    Declared,
    File,
    Literal,
    Member,
    Name,
    Node,
    Object,
    Template,
    read,
    walk,
)
from tests.infra.types import Types
from tests.kql.binder import Binder
from tests.test_own_health import KEY, Ingestion
from tocsin import actuators
from tocsin.app import Parts, compose
from tocsin.connections import event_grid
from tocsin.connections.queues import WORK
from tocsin.core import event as events
from tocsin.core.answer import NoAnswer, Query, Rows
from tocsin.core.config import Target
from tocsin.core.schema import TABLES
from tocsin.local.world import World
from tocsin.ports import Counted
from tocsin.settings import KNOWN, UNRESOLVED, Settings, problems
from tocsin.stores.mirror_blob import CONTAINER
from tocsin.stores.tables import TABLE
from tocsin.telemetry import own
from tocsin.telemetry.embedded import EmbeddedTelemetry

INFRA = ROOT / "infra"
README = (INFRA / "README.md").read_text(encoding="utf-8")
FILES = {path.stem: read(path) for path in sorted(INFRA.rglob("*.bicep"))}
MAIN = FILES["main"]

ROLES = {
    "eventGridDataSender": "d5a91429-5739-47e2-a06b-3470a27159e7",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "logAnalyticsReader": "73c42c96-874c-492b-b04d-ab87d138a893",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "monitoringReader": "43d0d8ad-25c7-4714-9337-8ba259a9fe05",
    "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
}

HOSTS_OWN = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}
"""Settings that the Functions host and the exporter read, not Tocsin."""

FLEX_REFUSES = {
    "AzureWebJobsStorage",
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_MAX_HTTP_CONCURRENCY",
    "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "TZ",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTOVERVNET",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_DNS_SERVER",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_NODE_DEFAULT_VERSION",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
    "WEBSITE_TIME_ZONE",
    "WEBSITE_VNET_ROUTE_ALL",
}
"""What a Flex Consumption app must not have, and the key of storage, which has none."""

FLEX_CONFIG = {
    "minTlsVersion",
    "ipSecurityRestrictions",
    "ipSecurityRestrictionsDefaultAction",
    "scmIpSecurityRestrictionsUseMain",
}
"""What of ``siteConfig`` Flex Consumption takes, of what is used here."""


def body(file: str, name: str) -> Object:
    found = FILES[file].find(name)
    assert found is not None, name
    return found.body


def at(node: Node | None, *path: str) -> Any:
    """Return what stands at a path of written keys."""
    for key in path:
        assert isinstance(node, Object), path
        node = node.get(key)
    return node


def value(node: Node | None, *path: str) -> Any:
    """Return a written value."""
    found = at(node, *path)
    if isinstance(found, Array):
        return [each.value for each in found.items if isinstance(each, Literal)]
    assert isinstance(found, Literal), path
    return found.value


def default(name: str) -> Any:
    return value(MAIN.of("param")[name].given)


def written() -> set[str]:
    """Return the names of the app settings that are written out."""
    given: list[Node] = []
    for call, file in (
        (at(body("function-app", "appSettings"), "properties"), FILES["function-app"]),
        (at(body("main", "functionApp"), "params", "settings"), MAIN),
    ):
        assert isinstance(call, Call)
        given += [form for each in call.given for form in Meaning(file).forms(each) if isinstance(form, Object)]
    return {key for each in given if isinstance(each, Object) for key, _ in each.entries if isinstance(key, str)}


def references() -> set[str]:
    return set(default("vaultSettings").split(","))


def by_hand() -> dict[str, str]:
    section = README.partition("## Settings that are not set here")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))


def named_by_the_files() -> set[str]:
    text = re.sub(r"#.*", "", (ROOT / "tocsin.yaml").read_text())
    return set(re.findall(r"(?<!\$)\$\{(\w+)\}", text)) | secret_by_the_files()


def secret_by_the_files() -> set[str]:
    return set(re.findall(r"_setting: *(\w+)", re.sub(r"#.*", "", (ROOT / "tocsin.yaml").read_text())))


# Settings


def test_every_setting_that_is_read_is_set_or_said_not_to_be() -> None:
    read_ = set(KNOWN) | named_by_the_files()
    assert read_ - written() - references() == by_hand().keys()
    assert not by_hand().keys() & (written() | references())
    assert all(by_hand().values())


def test_every_setting_that_is_set_is_read() -> None:
    assert written() | references() == (set(KNOWN) | named_by_the_files() | HOSTS_OWN) - by_hand().keys()


def test_no_setting_is_one_that_flex_refuses() -> None:
    assert not (written() | references()) & FLEX_REFUSES
    site = at(body("function-app", "app"), "properties", "siteConfig")
    assert {key for key, _ in site.entries} <= FLEX_CONFIG


def test_secrets_are_references_and_no_others_are() -> None:
    assert references() == secret_by_the_files() | {"TOCSIN_LINK_SECRET"}
    made = {value(each.body, "name") for each in FILES["vault"].of("resource").values() if each.name != "vault"}
    assert made == {name.replace("_", "-") for name in references()}
    (text,) = [node for node in walk(FILES["function-app"].find("references").given) if isinstance(node, Template)]  # type: ignore[union-attr]
    assert str(text.parts[0]).startswith(UNRESOLVED)


def test_a_reference_that_key_vault_did_not_resolve_is_no_secret() -> None:
    text = f"{UNRESOLVED}SecretUri=https://kv-tocsin-abc.vault.azure.net/secrets/TOCSIN-LINK-SECRET)"
    given = Settings(ROOT, {"TOCSIN_LINK_SECRET": text, "TEAMS_WEBHOOK_URL": text})
    assert given.get("TOCSIN_LINK_SECRET") is None
    with pytest.raises(LookupError, match="TEAMS_WEBHOOK_URL is not set"):
        given.secret("TEAMS_WEBHOOK_URL")
    assert [each.id for each in problems(given)] == ["unresolved-secret"] * 2
    assert "kv-tocsin" not in "".join(each.message for each in problems(given))


def test_a_component_that_is_not_there_ends_the_deployment_and_not_the_watch() -> None:
    """An id is put together of any name; only what is read at the component needs it to be there."""
    output = FILES["watched-component"].of("output")["id"]
    assert Member(0, Name(0, "component"), "properties") in set(walk(output.given))
    (name,) = at(body("main", "component"), "params").entries
    assert name[0] == "name"
    assert "WATCHED_APPLICATION_INSIGHTS" in written()


# Who may do what


def test_roles_are_those_of_azure_and_each_is_used() -> None:
    assert json.loads((INFRA / "roles.json").read_text()) == ROLES
    used = {
        node.name
        for file in FILES.values()
        for each in file.declared
        for node in walk(each.given)
        if isinstance(node, Member) and node.of == Name(0, "roles")
    }
    assert used == ROLES.keys()


def grants() -> Iterator[tuple[File, Declared]]:
    for file in FILES.values():
        for declared in file.of("resource").values():
            if declared.type.startswith("Microsoft.Authorization/roleAssignments"):
                yield file, declared


def test_every_grant_names_its_scope_its_kind_and_itself_by_both() -> None:
    assert len({each.name for _, each in grants()}) > 5
    for file, each in grants():
        assert at(each.body, "properties", "principalType") is not None, each.name
        name = at(each.body, "name")
        assert isinstance(name, Call)
        assert name.name == "guid"
        about = name.given[0]
        scope = at(each.body, "scope")
        if scope is None:
            assert (file.path.stem, each.name) == ("watched", "reads"), "a grant at a whole resource group"
        else:
            assert about == Member(0, scope, "id")
        assert name.given[1] == at(each.body, "properties", "principalId")


def permissions(file: str, name: str) -> Object:
    (found,) = at(body(file, name), "properties", "permissions").items
    assert isinstance(found, Object)
    return found


def test_the_actuator_may_do_what_actions_need_and_no_more() -> None:
    needed = {permission for each in actuators.known().values() for permission in each.needs}
    roles = [permissions("watched", name) for name in ("actuator", "stopper")]
    granted = {each for role in roles for each in value(role, "actions")}
    assert granted == {each for each in needed if each.startswith("Microsoft.App/")}
    assert [value(role, "dataActions") for role in roles] == [[], []]
    assert not [each for each in granted if "*" in each or "secret" in each.lower()]


def test_what_may_stop_an_app_may_change_nothing_else_of_it_and_is_a_choice() -> None:
    stops, acts = (set(value(permissions("watched", name), "actions")) for name in ("stopper", "actuator"))
    assert stops == set(actuators.known()["container_app.stop"].needs)
    assert not [each for each in acts if "/stop/" in each or "/start/" in each]
    assert not [each for each in stops if "write" in each]
    assert default("lastResort") is True
    assert all(FILES["watched"].of("resource")[name].conditional for name in ("stopper", "stops"))


def test_whoever_writes_the_audit_cannot_delete_from_it() -> None:
    granted = [*value(permissions("audit", "writer"), "actions"), *value(permissions("audit", "writer"), "dataActions")]
    assert not [each for each in granted if "*" in each or "delete" in each or "immutab" in each.lower()]
    assert value(kept_for(), "allowProtectedAppendWrites") is True
    assert value(body("audit", "container"), "properties", "immutableStorageWithVersioning", "enabled") is True
    assert value(body("audit", "blobs"), "properties", "isVersioningEnabled") is True
    in_audit = [each.name for file, each in grants() if file.path.stem == "audit"]
    elsewhere = {node.name for file, each in grants() for node in walk(each.given) if isinstance(node, Name)}
    assert in_audit == ["writes"]
    assert not {"audit", "auditName", "auditId"} & elsewhere


def kept_for() -> Object:
    """Return the retention policy of the audit's account."""
    found = at(body("audit", "account"), "properties", "immutableStorageWithVersioning")
    assert value(found, "enabled") is True
    policy = found.get("immutabilityPolicy")
    assert isinstance(policy, Object)
    return policy


def test_the_retention_of_the_audit_is_locked_by_a_parameter_and_can_be_deployed_again() -> None:
    state = kept_for().get("state")
    assert state == Choice(state.line, Name(0, "locked"), Literal(0, "Locked"), Literal(0, "Unlocked"))  # type: ignore[union-attr]
    assert kept_for().get("immutabilityPeriodSinceCreationInDays") == Name(0, "retentionDays")
    given = at(body("main", "audit"), "params")
    assert (given.get("locked"), given.get("retentionDays")) == (Name(0, "auditLocked"), Name(0, "auditRetentionDays"))
    assert default("auditLocked") is False
    others = [each.type for each in FILES["audit"].of("resource").values() if "immutabilityPolicies" in each.type]
    assert others == [], "that of a container cannot be deployed once it is locked"


@pytest.mark.parametrize("account", ["storage", "audit"])
def test_storage_has_no_keys_and_speaks_tls(account: str) -> None:
    given = at(body(account, "account"), "properties")
    assert value(given, "allowSharedKeyAccess") is False
    assert value(given, "allowBlobPublicAccess") is False
    assert value(given, "minimumTlsVersion") == "TLS1_2"
    assert value(given, "supportsHttpsTrafficOnly") is True


def test_no_output_holds_a_secret() -> None:
    wrong = re.compile(r"ConnectionString|InstrumentationKey|sharedKey|listKeys|primaryKey", re.IGNORECASE)
    for file in FILES.values():
        secure = {each.name for each in file.of("param").values() if "secure" in each.decorators}
        for output in file.of("output").values():
            names = {getattr(node, "name", "") for node in walk(output.given)}
            assert not names & secure, f"{file.path.name}: {output.name}"
            assert not [name for name in names if wrong.search(str(name))], f"{file.path.name}: {output.name}"


def test_secrets_are_secure_wherever_they_are_handed_on() -> None:
    secure = {"teamsWebhookUrl", "pagerdutyRoutingKey", "linkSecret"}
    for name in ("main", "vault"):
        assert {each.name for each in FILES[name].of("param").values() if "secure" in each.decorators} == secure


# Names


def test_tables_queues_and_containers_are_called_as_in_the_code() -> None:
    queues = {value(body("storage", name), "name") for name in ("work", "poison")}
    assert queues == {WORK, f"{WORK}-poison"}
    triggers = set(re.findall(r'queue_name="([^"]+)"', (ROOT / "function_app.py").read_text()))
    assert queues == triggers
    assert value(body("grants", "work"), "name") == WORK
    assert value(body("storage", "state"), "name") == TABLE
    assert value(body("audit", "container"), "name") == CONTAINER
    assert value(at(body("events", "subscriptions"), "params"), "container") == value(
        body("storage", "deadLetters"), "name"
    )


def test_everything_that_takes_tags_has_those_of_the_environment() -> None:
    folder = DATA / "bicep-types"
    if not folder.is_dir():
        pytest.skip("Azure's types are not here: ../shared/data/bicep-types")
    for file in FILES.values():
        for declared in file.of("resource").values():
            described = Types(folder).of(declared.type.partition("@")[0])
            if declared.existing or described is None or "tags" not in described.properties():
                continue
            tags = at(declared.body, "tags")
            if declared.type.startswith("Microsoft.KeyVault/vaults/secrets"):
                continue  # a secret's tags are shown beside it, and azd finds nothing by them
            assert Name(0, "tags") in set(walk(tags)), f"{file.path.name}: {declared.name}"
    for top in ("main", "events"):
        tags = FILES[top].find("tags")
        assert tags is not None
        assert tags.given == Object(0, (("azd-env-name", Name(0, "envName")), ("workload", Literal(0, "tocsin"))))


def test_azd_finds_the_app_by_its_tag() -> None:
    tags = at(body("function-app", "app"), "tags")
    assert Object(0, (("azd-service-name", Literal(0, "tocsin")),)) in set(walk(tags))


def test_names_fit_what_azure_allows() -> None:
    token, longest = "x" * 13, 40
    limits = {"app": 60, "plan": 60, "storage": 24, "audit": 24, "vault": 24, "workspace": 63, "component": 255}
    names = MAIN.find("names")
    assert names is not None
    assert {key for key, _ in names.given.entries} == limits.keys()  # type: ignore[union-attr]
    for key, given in names.given.entries:  # type: ignore[union-attr]
        known = {SHORT: "e" * longest, "token": token}
        text = "".join(each if isinstance(each, str) else known[each.name] for each in given.parts)
        assert len(text) <= limits[key], key
        if key in ("storage", "audit"):
            assert re.fullmatch(r"[a-z0-9]{3,24}", text)


SHORT = "shortName"


def shortened(given: Node, name: str) -> str:
    """Return what an expression of ``take`` and ``replace`` makes of an environment's name."""
    if isinstance(given, Name):
        assert given.name == "envName"
        return name
    assert isinstance(given, Call)
    first, *rest = given.given
    values = [each.value for each in rest if isinstance(each, Literal)]
    assert len(values) == len(rest)
    text = shortened(first, name)
    return text.replace(*values) if given.name == "replace" else text[: values[0]]


@pytest.mark.parametrize("name", ["prod", "Sales_EU.2(blue)", "a" * 64, "(._)" * 16])
@pytest.mark.parametrize("top", ["main", "events"])
def test_any_name_of_an_environment_that_azd_allows_makes_names_that_azure_allows(top: str, name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9()_.-]{1,64}", name), "azd's own rule"
    longest = FILES[top].of("param")["envName"].decorators["maxLength"][0]
    assert longest == Literal(longest.line, 64)
    found = FILES[top].find(SHORT)
    assert found is not None
    made = shortened(found.given, name)  # type: ignore[arg-type]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,40}", made)
    assert name.startswith(made) or not name.isalnum()


def test_only_what_people_read_and_the_tag_have_the_whole_name_of_the_environment() -> None:
    """Every resource that is named after the environment has its short name and the token in it."""
    for file in FILES.values():
        for declared in file.of("resource").values():
            used = {node.name for node in walk(at(declared.body, "name")) if isinstance(node, Name)}
            assert "envName" not in used, f"{file.path.name}: {declared.name}"
            assert SHORT not in used or "token" in used, f"{file.path.name}: {declared.name}"
        for declared in file.of("module").values():
            given = at(declared.body, "params", "name")
            assert Name(0, "envName") not in set(walk(given)), f"{file.path.name}: {declared.name}"


def test_the_python_that_runs_is_one_that_the_package_takes() -> None:
    (floor, ceiling) = re.findall(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[0]
    allowed = value(MAIN.of("param")["pythonVersion"].decorators["allowed"][0])
    assert allowed == [f"3.{minor}" for minor in range(int(floor), int(ceiling))]
    assert default("pythonVersion") == "3.13"


# Events


def functions() -> set[str]:
    return set(re.findall(r'function_name\("(\w+)"\)', (ROOT / "function_app.py").read_text()))


def test_events_that_come_are_those_that_are_looked_at() -> None:
    given = at(body("event-subscription", "changes"), "properties")
    assert set(value(given, "filter", "includedEventTypes")) == event_grid.awaited()
    assert value(given, "filter", "isSubjectCaseSensitive") is False
    kept = timedelta(minutes=value(given, "retryPolicy", "eventTimeToLiveInMinutes"))
    assert kept == events.OLDEST
    assert value(given, "eventDeliverySchema") == "EventGridSchema"
    begins = at(given, "filter", "subjectBeginsWith")
    assert begins == Call(0, "resourceId", (Literal(0, "Microsoft.App/containerApps"), Name(0, "containerApp")))
    target = Target(name="t", workspace="w", role_name="r", subscription="s", resource_group="g", container_app="a")
    assert target.app_id.endswith("/providers/Microsoft.App/containerApps/a")


def test_an_event_as_it_is_filtered_concerns_its_target() -> None:
    target = Target(name="t", workspace="w", role_name="r", subscription="s", resource_group="g", container_app="a")
    for kind in value(at(body("event-subscription", "changes"), "properties"), "filter", "includedEventTypes"):
        event = event_grid.read(
            {
                "id": "1",
                "eventType": kind,
                "topic": "/subscriptions/s/resourceGroups/g",
                "subject": target.app_id,
                "eventTime": "2026-11-20T03:00:00Z",
                "data": {},
            }
        )
        assert events.refusal(event, datetime(2026, 11, 20, 3, tzinfo=UTC)) == ""
        assert events.concerns(event, target)


def test_two_watchers_of_one_app_take_nothing_from_each_other() -> None:
    for name in ("changes", "alert"):
        text = at(body("event-subscription", name), "name")
        assert {Name(0, "containerApp"), Name(0, "token")} <= set(walk(text)), name
    longest = len("tocsin-") + 32 + len("-") + 13
    assert longest <= 64, "the longest name of an event subscription"


def test_an_event_that_is_given_up_is_told_whether_or_not_it_is_kept() -> None:
    """Event Grid refuses a subscription whose dead letters it cannot keep: a closed account, then, gets none."""
    subscription = at(body("event-subscription", "changes"), "properties", "deadLetterWithResourceIdentity")
    assert isinstance(subscription, Choice)
    (criterion,) = at(body("event-subscription", "alert"), "properties", "criteria", "allOf").items
    told = {node.value for node in walk(at(criterion, "metricName")) if isinstance(node, Literal)}
    assert told == {"DeadLetteredCount", "DroppedEventCount"}
    given = at(body("events", "subscriptions"), "params", "keepsDeadLetters")
    assert Literal(0, "Disabled") in set(walk(given))


def test_an_alert_rule_gets_no_action_group_of_another_subscription() -> None:
    """Azure refuses it, and with it everything that is deployed after the code."""
    actions = at(body("event-subscription", "alert"), "properties", "actions")
    assert isinstance(actions, Choice)
    assert Name(0, "reachable") in set(walk(actions))
    reachable = FILES["event-subscription"].find("reachable")
    assert reachable is not None
    assert {"split", "subscription"} <= {node.name for node in walk(reachable.given) if isinstance(node, Call)}


def test_whoever_has_signed_in_is_let_through_and_so_are_action_groups() -> None:
    validation = at(
        body("function-app", "signIn"), "properties", "identityProviders", "azureActiveDirectory", "validation"
    )
    allowed = at(validation, "defaultAuthorizationPolicy", "allowedApplications").items
    assert Name(0, "signInClientId") in allowed
    assert [each.value for each in allowed if isinstance(each, Literal)] == ["461e8683-5575-4561-ac7f-899cc907d62a"]


def test_nobody_deploys_by_a_password() -> None:
    """Neither over the site of deployments nor by FTP: who deploys signs in."""
    found = {
        value(each.body, "name"): value(each.body, "properties", "allow")
        for each in FILES["function-app"].of("resource").values()
        if each.type.startswith("Microsoft.Web/sites/basicPublishingCredentialsPolicies@")
    }
    assert found == {"scm": False, "ftp": False}


def test_the_site_of_deployments_is_no_wider_open_than_the_app() -> None:
    assert value(body("function-app", "app"), "properties", "siteConfig", "scmIpSecurityRestrictionsUseMain") is True


def test_an_app_in_a_network_of_its_own_has_a_way_out() -> None:
    """A new subnet has none by itself: nobody would be notified, and nothing could be asked."""
    functions, endpoints = at(body("network", "network"), "properties", "subnets").items
    assert [value(each, "name") for each in (functions, endpoints)] == ["functions", "endpoints"]
    for subnet in (functions, endpoints):
        assert value(subnet, "properties", "defaultOutboundAccess") is False, "whatever Azure's own default is"
    chosen = at(functions, "properties", "natGateway")
    assert chosen == Choice(
        0, Name(0, "makesFunctionsSubnet"), Object(0, (("id", Member(0, Name(0, "gateway"), "id")),)), Literal(0, None)
    )
    assert at(endpoints, "properties", "natGateway") is None
    for name in ("gateway", "outbound"):
        made = FILES["network"].find(name)
        assert made is not None
        assert made.given.condition == Name(0, "makesFunctionsSubnet")  # type: ignore[union-attr]
        assert value(body("network", name), "sku", "name") == "Standard", "StandardV2 takes no delegated subnet"
    (address,) = at(body("network", "gateway"), "properties", "publicIpAddresses").items
    assert address == Object(0, (("id", Member(0, Name(0, "outbound"), "id")),))
    assert value(body("network", "outbound"), "properties", "publicIPAllocationMethod") == "Static"


def test_storage_is_closed_only_where_there_is_a_network_to_reach_it() -> None:
    closed = at(body("main", "storage"), "params", "closed")
    assert {Name(0, "privateNetwork"), Name(0, "closedStorage")} <= set(walk(closed))


def test_functions_that_are_named_are_there() -> None:
    named = {
        found
        for file in FILES.values()
        for each in file.declared
        for node in walk(each.given)
        for text in (node.value if isinstance(node, Literal) else "".join(map(str, _texts(node))),)
        for found in re.findall(r"/functions/(\w+)|function:(\w+)|/api/(\w+)\?code", str(text))
    }
    flat = {name for each in named for name in each if name}
    assert flat == {"react", "events", "tick"} <= functions()
    assert json.loads((ROOT / "host.json").read_text())["extensions"]["http"]["routePrefix"] == "api"


def _texts(node: Node) -> list[str]:
    return [each for each in node.parts if isinstance(each, str)] if isinstance(node, Template) else []


def test_native_alerts_come_in_the_schema_that_is_read() -> None:
    webhook = FILES["events"].find("webhook")
    assert webhook is not None
    forms = [form for form in Meaning(FILES["events"]).forms(webhook.given) if isinstance(form, Object)]  # type: ignore[arg-type]
    assert len(forms) == 2, "with a token of an Entra application, and without"
    assert all(value(form, "useCommonAlertSchema") is True for form in forms)
    assert {form.get("useAadAuth") for form in forms} == {None, Literal(0, True)}


# Parameters


def test_every_parameter_is_handed_over_and_has_its_default() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert given.keys() == MAIN.of("param").keys()
    for name, each in given.items():
        found = re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", each["value"]) if isinstance(each["value"], str) else None
        declared = MAIN.of("param")[name]
        if found and found[2] is not None:
            shown = declared.given.value  # type: ignore[union-attr]
            assert found[2] == (str(shown).lower() if isinstance(shown, bool) else str(shown)), name
        elif not found:
            assert each["value"] in ([], {}), name


def variables() -> dict[str, str]:
    """Return the variable of each parameter that has one and stands without a default in the parameters file."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    texts = {name: each["value"] for name, each in given.items() if isinstance(each["value"], str)}
    return {name: text[2:-1] for name, text in texts.items() if "=" not in text}


def test_a_variable_that_nobody_has_set_is_an_empty_text_and_every_parameter_takes_one() -> None:
    """azd hands the empty text over, too, where a parameter has a default that is something else."""
    for name, variable in variables().items():
        given = MAIN.of("param")[name].given
        if variable != "AZURE_LOCATION":  # azd asks for it before anything else
            assert given is None or given == Literal(given.line, ""), name


def test_no_output_comes_back_as_a_parameter() -> None:
    """azd keeps outputs among its variables: a name found for one target would then stay when another is chosen."""
    read_ = re.findall(r"\$\{(\w+)", (INFRA / "main.parameters.json").read_text())
    assert len(read_) > 30
    assert not set(read_) & MAIN.of("output").keys()


def test_every_parameter_and_every_way_to_set_it_is_in_the_readme() -> None:
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    rows = dict(re.findall(r"^\| `(\w+)` \| (?:`(\w+)` )?\|", README.partition("## Parameters")[2], re.MULTILINE))
    for name, each in given.items():
        variable = re.match(r"\$\{(\w+)", each["value"]) if isinstance(each["value"], str) else None
        assert rows.get(name) == (variable[1] if variable else ""), name


def test_what_the_second_deployment_needs_the_first_one_gives() -> None:
    section = README.partition("## After the code")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+`) \| (.+) \|$", section, re.MULTILINE)
    named = {name for first, _ in rows for name in re.findall(r"`(\w+)`", first)}
    assert named == FILES["events"].of("param").keys()
    outputs = {name for _, second in rows for name in re.findall(r"`([A-Z_]+)`", second)} - {"AZURE_ENV_NAME"}
    assert outputs <= MAIN.of("output").keys()
    assert {name for name in re.findall(r"`([A-Z_]+)`", section) if name.startswith("TOCSIN_")} <= (
        MAIN.of("output").keys() | FILES["events"].of("output").keys()
    )


def test_outputs_that_are_settings_are_called_as_they_are() -> None:
    known = set(KNOWN) | named_by_the_files()
    assert {"TOCSIN_TABLES", "TOCSIN_QUEUES", "TOCSIN_AUDIT", "WATCHED_WORKSPACE"} <= MAIN.of("output").keys() & known


def test_every_parameter_says_what_it_is() -> None:
    for top in ("main", "events"):
        for each in FILES[top].of("param").values():
            assert "description" in each.decorators, each.name


# What alerts and the workbook ask


SLOT = datetime(2026, 11, 20, 3, 15, tzinfo=UTC)
ALERTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((INFRA / "alerts").glob("*.kql"))}


def workbook() -> dict[str, tuple[str, str]]:
    """Return the queries of the workbook with what they ask, by title; what people choose is chosen."""
    items = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))["items"]
    contents = [each["content"] for each in items if each["type"] == 3]
    chosen = {"{TimeRange:grain}": "5m", "{Role}": "*"}
    found = {}
    for each in contents:
        text = each["query"]
        for name, choice in chosen.items():
            text = text.replace(name, choice)
        found[each["title"]] = (text, *each["crossComponentResources"])
    return found


@pytest.fixture(scope="module")
def binder() -> Iterator[Binder]:
    binder = Binder()
    yield binder
    binder.close()


def rows(sent: EmbeddedTelemetry, text: str) -> tuple[tuple[Any, ...], ...]:
    found: Rows | NoAnswer = sent.ask(Query(text, SLOT - timedelta(minutes=15), SLOT), Target.model_construct())
    assert isinstance(found, Rows), found
    return found.rows


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_microsofts_parser_binds_the_alerts(name: str, binder: Binder) -> None:
    assert binder.bind(ALERTS[name]).errors == ()
    assert binder.bind(ALERTS[name], {}).errors == (), "a workspace to which nothing was ever sent has no tables"


def test_microsofts_parser_binds_the_workbook(binder: Binder) -> None:
    for title, (text, of) in workbook().items():
        assert "{" not in text.replace('{"', ""), title
        assert binder.bind(text).errors == (), title
        assert of in ("OWN_WORKSPACE", "WATCHED_WORKSPACE")


def metric(name: str, minute: float, number: float = 1, **labels: str) -> Mapping[str, Any]:
    at_ = SLOT - timedelta(minutes=minute)
    return {"TimeGenerated": at_, "AppRoleName": "tocsin", "Name": name, "Sum": number, "Properties": labels}


def request(name: str, minute: float, success: bool) -> Mapping[str, Any]:
    at_ = SLOT - timedelta(minutes=minute)
    return {"TimeGenerated": at_, "AppRoleName": "func-prod", "Name": name, "Success": success}


TICK = {"cause": "timer", "outcome": "done"}
HAPPENED: dict[str, tuple[dict[str, list[Mapping[str, Any]]], set[str]]] = {
    "nothing was ever sent": ({}, {"no_heartbeat"}),
    "all is well": ({"AppMetrics": [metric("tocsin.ticks", minute, **TICK) for minute in range(1, 15)]}, set()),
    "the last tick was long ago": ({"AppMetrics": [metric("tocsin.ticks", 16, **TICK)]}, {"no_heartbeat"}),
    "only events cause ticks": (
        {"AppMetrics": [metric("tocsin.ticks", 1, cause="event", outcome="done")]},
        {"no_heartbeat"},
    ),
    "every tick fails": (
        {"AppMetrics": [metric("tocsin.ticks", minute, cause="timer", outcome="failed") for minute in range(1, 15)]},
        {"no_heartbeat", "failed_executions"},
    ),
    "one failed": (
        {"AppMetrics": [metric("tocsin.ticks", 2, cause="timer", outcome="failed"), metric("tocsin.ticks", 1, **TICK)]},
        set(),
    ),
    "the host says that they fail, and its probes": (
        {
            "AppMetrics": [metric("tocsin.ticks", 1, **TICK)],
            "AppRequests": [request("Functions.tick", minute, False) for minute in (1, 2, 3)],
        },
        {"failed_executions"},
    ),
    "health is asked and answers badly": (
        {
            "AppMetrics": [metric("tocsin.ticks", 1, **TICK)],
            "AppRequests": [request("GET /api/health", minute, False) for minute in range(1, 9)],
        },
        set(),
    ),
    "both count the same failures": (
        {
            "AppMetrics": [metric("tocsin.ticks", 1, **TICK), metric("tocsin.ticks", 1, 2, outcome="failed")],
            "AppRequests": [request("tick", minute, False) for minute in (1, 2)],
        },
        set(),
    ),
    "a message was given up": (
        {
            "AppMetrics": [
                metric("tocsin.ticks", 1, **TICK),
                metric("tocsin.deliveries", 1, type="teams", outcome="refused", state="dead"),
            ]
        },
        {"dead_letters"},
    ),
    "a message waits": (
        {
            "AppMetrics": [
                metric("tocsin.ticks", 1, **TICK),
                metric("tocsin.deliveries", 1, type="teams", outcome="try again", state="waiting"),
            ]
        },
        set(),
    ),
    "a target could not be evaluated": (
        {
            "AppMetrics": [metric("tocsin.ticks", 1, **TICK)],
            "AppTraces": [{"TimeGenerated": SLOT - timedelta(minutes=1), "Message": "work given up"}],
        },
        {"dead_letters"},
    ),
}


@pytest.fixture(scope="module")
def telemetry() -> Iterator[EmbeddedTelemetry]:
    made = EmbeddedTelemetry()
    yield made
    made.close()


@pytest.mark.parametrize("name", HAPPENED)
def test_an_alert_is_told_when_it_has_to_be(name: str, telemetry: EmbeddedTelemetry) -> None:
    sent, expected = HAPPENED[name]
    telemetry.forget()
    for table, found in sent.items():
        telemetry.load(table, found)
    assert {name for name, text in ALERTS.items() if rows(telemetry, text)} == expected


def test_alerts_and_workbook_name_what_the_code_sends() -> None:
    sent = {f"{own.NAME}.{name}" for name in (*get_args(Counted), "tick.duration")}
    code = "\n".join(path.read_text() for path in (ROOT / "tocsin").rglob("*.py"))
    texts = [*ALERTS.values(), *(text for text, _ in workbook().values())]
    for text in texts:
        assert set(re.findall(r'"(tocsin\.[a-z.]+)"', text)) <= sent
        for message in re.findall(r'Message == "([^"]+)"', text):
            assert re.search(rf'\.(info|warning|error)\(\s*"{message}"', code), message


def test_the_workbook_shows_what_ticks_really_send(
    tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, telemetry: EmbeddedTelemetry
) -> None:
    """What the exporter sends, as the workspace keeps it, is what the queries look for."""
    ingestion = Ingestion(httpserver)
    connection = f"InstrumentationKey={KEY};IngestionEndpoint={httpserver.url_for('/')}"
    telemetry.forget()
    with World(SLOT - timedelta(minutes=5), seed=1) as world:
        told = {"APPLICATIONINSIGHTS_CONNECTION_STRING": connection, "TOCSIN_STATE": str(tmp_path / "state.sqlite")}
        for name in own._SILENCED:
            monkeypatch.setenv(f"APPLICATIONINSIGHTS_{name}", "true")
        watcher = compose(Settings(ROOT, {**world.settings(), **told}), Parts(clock=world.clock))
        try:
            world.bypass_approver()
            world.advance(SLOT - timedelta(minutes=1))
            watcher.tick()
        finally:
            watcher.engine.tally.close()  # type: ignore[attr-defined]
            own.connect.cache_clear()
    for table, found in kept(ingestion).items():
        telemetry.load(table, found)
    shown = {title for title, (text, of) in workbook().items() if of == "OWN_WORKSPACE" and rows(telemetry, text)}
    seldom = {"Slots judged late, or never", "Steps of actions", "Executions", "What it warned of"}
    assert shown | seldom == {title for title, (_, of) in workbook().items() if of == "OWN_WORKSPACE"}
    assert {name for name, text in ALERTS.items() if rows(telemetry, text)} == set()


def kept(ingestion: Ingestion) -> dict[str, list[Mapping[str, Any]]]:
    """Return what was sent as the rows that the workspace makes of it."""
    common = {"TimeGenerated": SLOT - timedelta(seconds=1), "AppRoleName": "tocsin"}
    metrics = [
        {
            **common,
            "Name": each["metrics"][0]["name"],
            "Sum": each["metrics"][0]["value"],
            "Max": each["metrics"][0].get("max") or 0.0,
            "ItemCount": each["metrics"][0].get("count") or 1,
            "Properties": each["properties"],
        }
        for each in ingestion.data("MetricData")
    ]
    traces = [{**common, "Message": message, "Properties": told} for message, told in ingestion.lines()]
    return {"AppMetrics": metrics, "AppTraces": traces}


def test_the_workbook_shows_what_an_accelerator_sends(data: Path, telemetry: EmbeddedTelemetry) -> None:
    telemetry.forget()
    telemetry.load_recorded(data / "accelerator-telemetry.jsonl", SLOT - timedelta(minutes=1))
    at_ = SLOT - timedelta(minutes=1)
    for name in ("worker.completed", "retrieval.returned"):  # the recording has none
        told = {"event_name": name, "ok": "false", "error": "time-out", "external_system": "writer"}
        telemetry.load("AppTraces", [{"TimeGenerated": at_, "Message": name, "Properties": told}])
    of_theirs = {title: text for title, (text, of) in workbook().items() if of == "WATCHED_WORKSPACE"}
    assert [title for title, text in of_theirs.items() if not rows(telemetry, text)] == []


def test_the_workbook_is_one() -> None:
    given = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
    assert given["version"] == value(body("workbook", "book"), "properties", "version") == "Notebook/1.0"
    names = [each["name"] for each in given["items"]]
    assert len(names) == len(set(names))
    assert {each["type"] for each in given["items"]} == {1, 3, 9}
    text = (INFRA / "modules" / "workbook.bicep").read_text()
    for placeholder in {of for _, of in workbook().values()}:
        assert f"'{placeholder}'" in text


def test_every_alert_is_deployed_and_tells_people() -> None:
    modules = FILES["alerts"].of("module").values()
    loaded = [at(each.body, "params", "query").given[0].value for each in modules]
    assert {Path(path).stem for path in loaded} == ALERTS.keys()
    assert all(at(each.body, "params", "actionGroupId") == Member(0, Name(0, "group"), "id") for each in modules)
    assert set(TABLES) >= {name for text in ALERTS.values() for name in re.findall(r"\((App\w+)", text)}
