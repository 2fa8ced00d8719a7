"""What a person decides in a story by a link in a message: to approve what was asked, or to release the switch."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

from tocsin import links
from tocsin.local.evals import evals, safe
from tocsin.local.play import Stage

RELEASE, DECIDE = "Release the killswitch", "Approve or decline"
PERSON = {"X-MS-CLIENT-PRINCIPAL-NAME": "ada@ops.example", "X-MS-CLIENT-PRINCIPAL-ID": "ada"}
PERSON |= {"X-MS-CLIENT-PRINCIPAL-IDP": "aad", "Sec-Fetch-Site": "same-origin"}
"""What App Service's sign-in adds to a request."""


def run_evals(stage: Stage, *, failing: int) -> None:
    """Let the accelerator's evals run outside the app and leave their results; so many red-team cases fail."""
    name = stage.world.target().name
    (where,) = [each.evals.files for each in stage.engine.project.config.targets if each.name == name and each.evals]
    for path, data in evals(name, stage.world.clock.now(), redteam=safe(failing=failing)).items():
        file = stage.results / where / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def release(stage: Stage) -> None:
    """Press Release on the newest link for it."""
    said = "ordered" if _pressed(stage, RELEASE, "release") else "refused"
    stage.witness.info("release", said=said)
    stage.witness.see("world", f"ada presses Release: {said}")


def approve(stage: Stage) -> None:
    """Press Approve on the newest link that asks."""
    said = "approved" if _pressed(stage, DECIDE, "approve") else "refused"
    stage.witness.info("decide", said=said)
    stage.witness.see("world", f"ada presses Approve: {said}")


def _pressed(stage: Stage, name: str, button: str) -> bool:
    """Open the newest link of this name, as a scanner would; then press its button, signed in."""
    token = _token(stage, name)
    links.answer("GET", {"token": token}, b"", stage.app)
    pressed = urlencode({"token": token, "press": button}).encode()
    return links.answer("POST", {}, pressed, stage.app, PERSON).status == 200


def _token(stage: Stage, wanted: str) -> str:
    """Return the token of the newest such link that was delivered; empty when none was."""
    told = [each.notice for each in stage.engine.store.deliveries(1_000)]
    found = [url for notice in told for name, url in notice.links if name == wanted]
    return parse_qs(urlsplit(found[0]).query)["token"][0] if found else ""
