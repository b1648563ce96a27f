"""`python -m docs.make` writes the pages that come from the code; `--check` names stale ones."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from device.commands.screen import complain, say
from docs.generators.commands import commands_page
from docs.generators.exit_codes import exit_codes_page
from docs.generators.settings import settings_page
from docs.generators.wire import wire_page, wire_schema_text

REPOSITORY = Path(__file__).resolve().parents[1]

PAGES: dict[str, Callable[[], str]] = {
    "docs/settings.md": lambda: settings_page(REPOSITORY),
    "docs/commands.md": commands_page,
    "docs/exit-codes.md": exit_codes_page,
    "docs/wire-format.md": lambda: wire_page(REPOSITORY),
    "docs/wire-schema.json": wire_schema_text,
}


def stale(repository: Path) -> list[str]:
    """The pages that are not what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (repository / name).is_file()
        or (repository / name).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.make", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    arguments = parser.parse_args()
    names = stale(REPOSITORY)
    if arguments.check:
        for name in names:
            complain(f"{name}: stale; run `make docs` and commit it")
        return 1 if names else 0
    for name in names:
        (REPOSITORY / name).write_text(PAGES[name](), encoding="utf-8")
        say(f"written {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
