"""Tools of the machine that some tests need: found, or a skip that names them.

Under `LOOKOUT_REQUIRE_ALL=1`, as in CI, what is absent is a failure.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def absent(what: str) -> NoReturn:
    """Skip the test, or fail it where nothing may be absent."""
    if os.environ.get("LOOKOUT_REQUIRE_ALL") == "1":
        pytest.fail(f"{what} is absent, and LOOKOUT_REQUIRE_ALL=1 allows no skip")
    pytest.skip(f"{what} is absent")


def require_tool(name: str) -> str:
    """Path of a program; `/usr/sbin` is searched too, where Debian puts daemons."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return found if found is not None else absent(f"the program {name}")


def find_testdata() -> Path:
    """The folder of real models and pictures beside the repository, or the named one."""
    named = os.environ.get("LOOKOUT_TESTDATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "testdata"
    return folder if folder.is_dir() else absent("the test data (LOOKOUT_TESTDATA)")
