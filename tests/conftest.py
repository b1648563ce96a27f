"""Fixtures that tests of every room share."""

from pathlib import Path

import pytest

from tests.tools import testdata_folder


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Real models and pictures; the test is skipped with a reason where they are absent."""
    return testdata_folder()
