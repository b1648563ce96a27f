"""Temperature and disk of the machine, as the kernel tells them."""

import shutil
from pathlib import Path

from device.ports import Vitals

THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")


def read_vitals(state_dir: Path, thermal_zone: Path = THERMAL_ZONE) -> Vitals:
    """thermal_zone: a file with thousandths of a degree Celsius. Raises nothing."""
    try:
        temperature_c = int(thermal_zone.read_text()) / 1000
    except (OSError, ValueError):
        temperature_c = None
    try:
        disk_free_bytes = shutil.disk_usage(state_dir).free
    except OSError:
        disk_free_bytes = None
    return Vitals(temperature_c, disk_free_bytes)
