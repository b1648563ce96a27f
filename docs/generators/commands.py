"""`docs/commands.md`: every command and option of both programs, from their parsers."""

import argparse
from collections.abc import Iterator

from cloud_bridge.main import parser as cloud_parser
from device.main import parser as device_parser
from docs.generators.markdown import note, page, table

_INTRO = """\
`lookout` runs and asks boxes; `lookout-cloud`, which wants the extra `cloud`, is what stands beside
them. Commands that speak to a running box (`watch`, `status`, `snap`, `look`, `pause`, `resume`,
`why`) find it through its settings, or through `--socket`. All that print have `--json`: one object
a line. How each may end: [exit-codes.md](exit-codes.md)."""

SubParsers = argparse._SubParsersAction  # argparse has no public name for it

PROGRAMS = {"lookout": device_parser, "lookout-cloud": cloud_parser}


def commands_page() -> str:
    """The whole page, Markdown."""
    tops = {program: parser() for program, parser in PROGRAMS.items()}
    return page(
        note(
            "`device/main.py`, `device/commands/`, `cloud_bridge/main.py` and "
            "`cloud_bridge/commands/`"
        ),
        "# Commands",
        _INTRO,
        *(_overview(program, top) for program, top in tops.items()),
        *(section for program, top in tops.items() for section in _sections(program, top)),
    )


def _overview(program: str, top: argparse.ArgumentParser) -> str:
    rows = [[f"[`{program} {name}`](#{program}-{name})", words] for name, words, _ in children(top)]
    return table(["command", "does"], rows)


def children(
    parent: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """(name, what it does, parser) of the commands below `parent` that help shows."""
    for action in parent._actions:
        if isinstance(action, SubParsers):
            for choice in action._choices_actions:
                yield choice.dest, choice.help or "", action.choices[choice.dest]


def _choices(parent: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parent._actions:
        if isinstance(action, SubParsers):
            found.update(action.choices)
    return found


def command_paths(program: str = "lookout") -> set[str]:
    """`run`, `model`, `model check`, ...; those too that help does not show."""
    paths = set()
    for name, command in _choices(PROGRAMS[program]()).items():
        paths.add(name)
        paths |= {f"{name} {action}" for action in _choices(command)}
    return paths


def options_of(path: str, program: str = "lookout") -> set[str]:
    """The options that a command knows, such as `--json`."""
    command = PROGRAMS[program]()
    for step in path.split():
        command = _choices(command)[step]
    return {option for action in command._actions for option in action.option_strings}


def _sections(path: str, parent: argparse.ArgumentParser) -> Iterator[str]:
    for name, words, command in children(parent):
        level = "##" if path in PROGRAMS else "###"
        yield f"{level} `{path} {name}`"
        yield command.description or f"{words[:1].upper()}{words[1:]}."
        actions = [each for each in command._actions if not isinstance(each, SubParsers)]
        rows = [
            [_written(each), _help(each, command)]
            for each in sorted(actions, key=lambda each: bool(each.option_strings))
            if "--help" not in each.option_strings
        ]
        if rows:
            yield table(["argument", "meaning"], rows)
        yield from _sections(f"{path} {name}", command)


def _written(action: argparse.Action) -> str:
    value = action.metavar or "|".join(map(str, action.choices or [])) or action.dest.upper()
    if not action.option_strings:
        many = "..." if action.nargs in ("+", "*") else ""
        return f"`{value}{many}`" + (" (may be left out)" if action.nargs in ("?", "*") else "")
    option = action.option_strings[-1]
    needed = ", needed" if action.required else ""
    return f"`{option}`" if action.nargs == 0 else f"`{option} {value}`{needed}"


def _help(action: argparse.Action, command: argparse.ArgumentParser) -> str:
    return (action.help or "") % {**vars(action), "prog": command.prog}
