"""Fixtures that tests of every room share."""

from pathlib import Path

import pytest

from tests.tools import REPOSITORY, find_testdata

TESTS = REPOSITORY / "tests"

# What starts processes, servers or many threads: not in `make check`, which a person runs often.
SLOW = (
    "contracts",
    "cloud_bridge/commands",
    "cloud_bridge/local_pubsub/test_server.py",
    "device/album/test_sqlite_album.py",
    "device/bundles/test_trial.py",
    "device/camera/test_rtsp.py",
    "device/commands",
    "device/messaging/test_paho_limits.py",
    "device/pipeline/test_deliver_faults.py",
    "device/pipeline/test_deliver_interleaved.py",
    "device/pipeline/test_tuning.py",
    "device/test_appliance.py",
    "device/test_workers.py",
)

# What no TFLite runtime has a part in: `make test-tflite` leaves it out.
CLOUD = (
    "cloud_bridge",
    "contracts/test_command_source.py",
    "contracts/test_dead_letters.py",
    "contracts/test_link.py",
    "contracts/test_publisher.py",
    "contracts/test_pubsub.py",
    "contracts/test_pubsub_admin.py",
    "contracts/test_versions.py",
    "faults/test_bridge_kill.py",
    "faults/test_chain_kill.py",
    "faults/test_history.py",
    "faults/test_partitions.py",
    "faults/test_pubsub.py",
    "faults/test_pubsub_disk.py",
    "faults/test_tcp_proxy.py",
    "system/test_access_rules.py",
    "system/test_bridge.py",
    "system/test_bridge_link.py",
    "system/test_local_pubsub.py",
    "system/test_trust.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks by place, so that one page says what is slow and what is the cloud's."""
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
        if place.startswith(CLOUD):
            item.add_marker(pytest.mark.cloud)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """Real models and pictures; the test is skipped with a reason where they are absent."""
    return find_testdata()
