"""Processes that a test has started, found by the folder that they were given."""

from pathlib import Path


def processes_of(folder: Path) -> dict[int, str]:
    """Command lines that name a file below `folder`, by process id."""
    found = {}
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in words:
            found[int(each.parent.name)] = words
    return found
