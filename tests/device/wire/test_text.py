"""Names that are not UTF-8, on their way into messages."""

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from device.wire.state import SettingsState, encode_part
from device.wire.text import json_bytes, printable


def test_a_settings_file_of_any_name_can_be_told() -> None:
    source = os.fsdecode(b"/etc/caf\xe9.toml")
    assert json.loads(encode_part(SettingsState(source=source)))["source"] == "/etc/caf\\xe9.toml"
    assert printable(source) == "/etc/caf\\xe9.toml"


@given(st.text(st.characters()), st.text(st.characters(categories=["Cs"])))
def test_what_is_encoded_can_be_decoded(text: str, odd: str) -> None:
    assert json.loads(json_bytes({"text": text + odd})) == {"text": printable(text + odd)}
    assert printable(text + odd).encode().decode() == printable(text + odd)
