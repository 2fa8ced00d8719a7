"""A local world in a process of its own, told by lines of JSON on its standard input how far its story goes.

It prints its settings first. ``{"advance": seconds}`` moves it and answers ``{}``; ``{"report": true}`` answers what
the platform and the receivers have seen.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any

from tocsin.local.world import World


def report(world: World) -> dict[str, Any]:
    """Return what came of the story, as the other side of every connection saw it."""
    return {
        "patches": len(world.arm.patches),
        "switch": world.serving_env().get("KILLSWITCH_TOOLS"),
        "incidents": [[event["payload"]["class"] for event in each.events] for each in world.pagerduty.incidents],
        "cards": [card["attachments"][0]["content"]["body"][0]["inlines"][0]["text"] for _, card in world.teams.cards],
    }


def main(start: str) -> None:
    """Serve a world that begins at ``start`` until the standard input ends; its approver is missing from minute one."""
    begun = datetime.fromisoformat(start)
    with World(begun) as world:
        print(json.dumps(world.settings()), flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            if "advance" in order:
                world.advance(begun + timedelta(seconds=order["advance"]))
            if order.get("unset"):
                world.bypass_approver()
            print(json.dumps(report(world) if order.get("report") else {}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
