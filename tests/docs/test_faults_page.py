"""docs/faults.md names every fault test, and the statuses that the tests hold."""

import grpc

from tests.tools import REPOSITORY

PAGE = (REPOSITORY / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_fault_test_is_on_the_page() -> None:
    tests = sorted((REPOSITORY / "tests" / "faults").glob("test_*.py"))
    assert [path.name for path in tests if f"tests/faults/{path.name}`" not in PAGE] == []


def test_every_status_is_on_the_page() -> None:
    codes = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    assert [name for name in codes if f"`{name}`" not in PAGE] == []
