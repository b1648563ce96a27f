"""One running box per state folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import OutputError, TransientError
from device.instance_lock import InstanceLock


def test_a_second_instance_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    with InstanceLock(tmp_path / "state"), pytest.raises(TransientError) as refused:
        InstanceLock(tmp_path / "state")
    assert f"in use by process {os.getpid()}" in str(refused.value)


def test_the_folder_is_free_again_after_close(tmp_path: Path) -> None:
    InstanceLock(tmp_path).close()
    with InstanceLock(tmp_path):
        pass


def test_a_killed_holder_frees_the_folder(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib; from device.instance_lock import InstanceLock; "
        "lock = InstanceLock(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert (tmp_path / "lock").exists()
    with InstanceLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="state folder"):
        InstanceLock(tmp_path / "file" / "state")
