"""Tables and notes that the generated pages share."""

from collections.abc import Iterable, Sequence


def note(source: str) -> str:
    """The line that keeps a hand off the page."""
    return f"<!-- Made by `make docs` from {source}: change that, not this. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a pipe or line end inside a cell does not end the cell."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(text: str) -> str:
    """One line, with every pipe escaped."""
    return " ".join(text.replace("|", "\\|").split())


def page(*parts: str) -> str:
    """Parts with an empty line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"
