"""Text as bytes: whatever somebody called a file, a message can say it."""

import json
import re

_LONE = re.compile("[\ud800-\udfff]")
"""What Python makes of the bytes of a name that is not UTF-8: no encoding has a place for it."""


def printable(text: str) -> str:
    """`text` with each byte that is no UTF-8 written out, such as `\\xe9`."""
    return _LONE.sub(_written_out, text)


def json_bytes(value: object) -> bytes:
    """JSON, UTF-8, on one line, as short as it can be."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return _LONE.sub(lambda found: "\\" + _written_out(found), text).encode()


def _written_out(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
