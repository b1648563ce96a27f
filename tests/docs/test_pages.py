"""The pages are fresh, their links lead somewhere, and their examples work."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from cloud_bridge import errors as cloud_errors
from cloud_bridge.settings_file import parse_config as parse_cloud_config
from device import assembly
from device import errors as device_errors
from device.bundles.store import FolderStore
from device.core.toml_keys import KeyLines
from device.pipeline.planning import plan_regions
from device.settings_file import parse_config, read_config
from docs.generators.commands import command_paths, options_of
from docs.generators.exit_codes import meanings
from docs.make import PAGES, stale

REPOSITORY = Path(__file__).resolve().parents[2]
MARKDOWN = sorted(
    path.relative_to(REPOSITORY)
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"))
)
EXAMPLES = sorted(REPOSITORY.glob("docs/examples/*.toml"))
SOURCES = sorted(
    path.relative_to(REPOSITORY)
    for room in ("device", "cloud_bridge")
    for path in REPOSITORY.glob(f"{room}/**/*.py")
)

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_QUOTED_COMMAND = re.compile(r"`(?:\.venv/bin/)?(lookout(?:-cloud)?) ([^`\n]+)`")
_TYPED_COMMAND = re.compile(
    r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(lookout(?:-cloud)?) ([a-z].*)$", re.MULTILINE
)
_CODE_PATH = re.compile(
    r"`((?:device|cloud_bridge|docs|models|tests|requirements)/[\w./-]*|Makefile|pyproject\.toml)`"
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def text_of(path: Path) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def anchors_of(text: str) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, dashes for spaces."""
    without_code = _BLOCK.sub("", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(without_code)
    }


def settings_blocks() -> Iterator[tuple[str, str]]:
    """(where, text) of every settings example; in these pages TOML means settings."""
    for path in MARKDOWN:
        for number, (_, language, text) in enumerate(_BLOCK.findall(text_of(path)), start=1):
            if language == "toml":
                yield f"{path}, block {number}", dedent(text)


def commands_in(path: Path) -> Iterator[tuple[str, str]]:
    """(program, the words that follow it)."""
    text = text_of(path).replace("\\\n", " ")
    yield from _QUOTED_COMMAND.findall(text)
    if path.suffix == ".md":
        yield from _TYPED_COMMAND.findall(text)


known_commands = cache(command_paths)
known_options = cache(options_of)


def wrong_in(command: str, program: str = "lookout") -> str | None:
    """What the program would not understand of the words that follow it."""
    words = [word.strip("[]") for word in shlex.split(command.replace("'", ""), comments=True)]
    if not words[0].isalpha():
        return None  # `lookout ...`
    path = words[0]
    if len(words) > 1 and f"{path} {words[1]}" in known_commands(program):
        path = f"{path} {words[1]}"
    elif "".join(words[1:2]).isalpha() and any(
        known.startswith(f"{path} ") for known in known_commands(program)
    ):
        return f"no command {path} {words[1]}"
    if path not in known_commands(program):
        return f"no command {path}"
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known_options(path, program):
            return f"{path} has no option {option}"
    return None


def test_the_pages_that_come_from_the_code_are_fresh() -> None:
    assert stale(REPOSITORY) == [], "run `make docs` and commit what it writes"


def test_a_page_that_is_absent_or_changed_by_hand_is_stale(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in PAGES:
        (tmp_path / name).write_text(text_of(Path(name)), encoding="utf-8")
    assert stale(tmp_path) == []
    (tmp_path / "docs/settings.md").unlink()
    with (tmp_path / "docs/exit-codes.md").open("a", encoding="utf-8") as file:
        file.write("a hand was here\n")
    assert stale(tmp_path) == ["docs/settings.md", "docs/exit-codes.md"]


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_every_link_inside_the_repository_leads_somewhere(path: Path) -> None:
    broken = []
    for target in _LINK.findall(_BLOCK.sub("", text_of(path))):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        place = (REPOSITORY / path).parent / file if file else REPOSITORY / path
        if not place.exists() or (anchor and anchor not in anchors_of(place.read_text("utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_every_path_that_a_page_names_exists(path: Path) -> None:
    named = _CODE_PATH.findall(_HTML_COMMENT.sub("", text_of(path)))
    assert [each for each in named if not (REPOSITORY / each).exists()] == []


@pytest.mark.parametrize(
    ("where", "text"), [pytest.param(*block, id=block[0]) for block in settings_blocks()]
)
def test_every_settings_example_in_the_pages_is_good(where: str, text: str) -> None:
    config = parse_config(text, where)
    _, mistakes = plan_regions(config, FolderStore(None).find, KeyLines(text))
    assert mistakes == []


@pytest.mark.parametrize("page", ["bridge.md", "google-cloud.md", "hub.md"])
def test_the_settings_of_bridges_and_hubs_in_the_pages_are_good(page: str) -> None:
    blocks = [
        text
        for _, language, text in _BLOCK.findall(text_of(Path("docs") / page))
        if not language and text.startswith("registries = ")
    ]
    assert blocks
    for text in blocks:
        parse_cloud_config(text, page)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_file_runs_on_the_embedded_bundle(path: Path) -> None:
    config = read_config(path)
    store = assembly.open_bundles(None)
    plans, mistakes = plan_regions(config, store.find, KeyLines(path.read_text(encoding="utf-8")))
    assert mistakes == []
    assert [plan.name for plan, _ in plans] == list(config.all_regions)


@pytest.mark.parametrize("path", [*MARKDOWN, *SOURCES], ids=str)
def test_every_command_that_a_page_or_a_message_names_exists(path: Path) -> None:
    wrong = {words: wrong_in(words, program) for program, words in commands_in(path)}
    assert {words: why for words, why in wrong.items() if why is not None} == {}


def test_a_command_or_option_that_does_not_exist_is_noticed() -> None:
    assert wrong_in("model list --json") is None
    assert wrong_in("why ID --json") is None
    assert wrong_in("fly --json") == "no command fly"
    assert wrong_in("model fly") == "no command model fly"
    assert wrong_in("why --ever") == "why has no option --ever"
    assert wrong_in("model list --golden=x") == "model list has no option --golden"
    assert wrong_in("send command garden pause --mqtt", "lookout-cloud") is None
    assert wrong_in("send greetings garden", "lookout-cloud") == "no command send greetings"
    assert wrong_in("hub --seek", "lookout-cloud") == "hub has no option --seek"


def test_every_exit_code_but_zero_says_what_it_means() -> None:
    for module in (device_errors, cloud_errors):
        codes = {code.name for code in module.ExitCode if code.value != 0}
        assert set(meanings(module)) == codes
