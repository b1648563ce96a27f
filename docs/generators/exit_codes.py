"""`docs/exit-codes.md`: from `device.errors.ExitCode`, whose docstrings say what each means."""

import ast
import inspect

from device import errors
from device.errors import ExitCode
from device.main import INTERRUPTED
from docs.generators.markdown import note, page, table

_INTRO = """\
Every command ends with one of these. Words about what went wrong go to standard error, one message
a mistake: what was found, what is wanted, how to mend it. With `--json`, standard output holds
JSON and nothing else."""

_REMARKS = """\
- A command that looks at several things (`classify` with many pictures) goes on after a bad one,
  names it, and ends with its code.
- `lookout run` ends with 0 when it was told to stop (SIGTERM, Ctrl-C), and with 1 when a part of it
  could not be kept alive; whoever started it should start it again. A camera, broker or disk that
  fails does not end it.
- Scripts can ask: `lookout config check` ends with 0 or 78 (65 where it is a bundle that is
  missing or damaged), `lookout model check` with 0 or 65."""


def exit_codes_page() -> str:
    """The whole page, Markdown."""
    told = meanings()
    rows = [
        [str(code.value), f"`{code.name}`", told.get(code.name, "All went well.")]
        for code in ExitCode
    ]
    rows.append([str(INTERRUPTED), "", "Ended by Ctrl-C, as shells have it (128 + SIGINT)."])
    return page(
        note("`device/errors.py`"),
        "# Exit codes",
        _INTRO,
        table(["code", "name", "meaning"], rows),
        _REMARKS,
    )


def meanings() -> dict[str, str]:
    """The docstring below each code."""
    [found] = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(errors)))
        if isinstance(node, ast.ClassDef) and node.name == "ExitCode"
    ]
    told = {}
    for code, below in zip(found.body, found.body[1:], strict=False):
        if (
            isinstance(code, ast.Assign)
            and isinstance(code.targets[0], ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            told[code.targets[0].id] = str(below.value.value)
    return told
