"""The JSON schema of a file of scenarios, for editors."""

from __future__ import annotations

import json

from tocsin.authoring.schema import made
from tocsin.core.crosscheck import Known
from tocsin.core.schema import TABLES
from tocsin.scenarios.format import Scenarios

NAME = "scenarios.schema.json"


def schema(known: Known) -> str:
    """Return the schema's text. A row takes any column beside the keys of the format."""
    found = made(Scenarios, "scenarios", known)
    found["definitions"]["Row"]["properties"]["table"] = {"enum": sorted(TABLES)}
    return json.dumps(found, indent=2) + "\n"
