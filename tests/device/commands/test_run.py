"""`lookout run`: which settings it begins with."""

from pathlib import Path

from device.commands.run import find_settings


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "lookout.toml"
    path.write_text(f'\ufeff[device]\nstate_dir = "{tmp_path}"\nname = "gate"\n', encoding="utf-8")
    start = find_settings(path)
    assert start.config.device.name == "gate"
    assert start.source.refused == ()
