"""The command line: what an operator runs on a laptop, in CI and at 3 a.m.

Belongs here: commands that call the app and show what it found. Does not belong here: anything the function needs.

Exit codes: 0 all is well; 1 the answer is bad news (problems found, a switch not proven, a story that did not come
true); 2 the call was wrong; 3 something needed did not answer (the state, the platform).
"""

from __future__ import annotations

import logging
import sys


def main() -> None:
    """Run the ``tocsin`` command."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        sys.exit("tocsin: the command line needs its extra: pip install 'tocsin[cli]'")
    from tocsin.cli.commands import program

    # Its warnings list every way to sign in that was tried; the command's own answer says what to do.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    program()
