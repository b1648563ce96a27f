"""Fixtures that tests of every room share."""

from pathlib import Path

import pytest

from tests.tools import find_testdata


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Real models and pictures; the test is skipped with a reason where they are absent."""
    return find_testdata()
