"""`docs/exit-codes.md`: from the `ExitCode` of both programs; docstrings say what they mean."""

import ast
import inspect
from enum import IntEnum
from types import ModuleType

from cloud_bridge import errors as cloud_errors
from device import errors as device_errors
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


_CLOUD_REMARKS = """\
- `bridge`, `pubsub` and `hub` end with 0 when they were told to stop, and with 1 when a part of
  them could not be kept alive; whoever started them should start them again. A broker or a Pub/Sub
  that is away does not end them.
- `deadletters retry` ends with 69 when some were refused again, and with 1, as `drop` does, when a
  number is nobody's. `provision --check` ends with 1 when something is not as wanted, `device
  revoke` with 75 while the broker still lets the revoked one in
  ([certificates.md](certificates.md#revoke)).
- `events` and `lookout demo` end with 0 on Ctrl-C: that is how they end."""


def exit_codes_page() -> str:
    """The whole page, Markdown."""
    return page(
        note("`device/errors.py` and `cloud_bridge/errors.py`"),
        "# Exit codes",
        _INTRO,
        "## Of `lookout`",
        _table(device_errors, device_errors.ExitCode),
        _REMARKS,
        "## Of `lookout-cloud`",
        _table(cloud_errors, cloud_errors.ExitCode),
        _CLOUD_REMARKS,
    )


def _table(module: ModuleType, codes: type[IntEnum]) -> str:
    told = meanings(module)
    rows = [
        [str(code.value), f"`{code.name}`", told.get(code.name, "All went well.")] for code in codes
    ]
    rows.append([str(INTERRUPTED), "", "Ended by Ctrl-C, as shells have it (128 + SIGINT)."])
    return table(["code", "name", "meaning"], rows)


def meanings(module: ModuleType = device_errors) -> dict[str, str]:
    """The docstring below each code of the module's `ExitCode`."""
    [found] = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(module)))
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
