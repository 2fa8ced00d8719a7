"""Which copy of the audit a setting names: a blob container in Azure, or a file on one machine."""

from __future__ import annotations

from pathlib import Path

from tocsin.ports import Mirror


def connect(where: str, root: Path, client_id: str | None = None) -> Mirror:
    """Return the copy at ``where``: a container's address, a connection string, or a path seen from ``root``.

    Raises ValueError for what is none of these.
    """
    if where.startswith("https://") or "=" in where:
        from tocsin.stores import mirror_blob

        return mirror_blob.connect(where, client_id)
    if "://" in where:
        raise ValueError("an address must begin with https://")
    from tocsin.stores.mirror_file import FileMirror

    return FileMirror(root / where)
