"""`lookout-cloud` that is killed just before the N-th file that it writes gets its name.

    python -m tests.cloud_bridge.commands.dying N WORDS...

Ends with 137, or as the command does when it writes fewer files.
"""

import os
import sys

from cloud_bridge.main import main


def die_before(count: int) -> None:
    left = count

    def hear(event: str, _: tuple[object, ...]) -> None:
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left == 0:
                os._exit(137)

    sys.addaudithook(hear)


if __name__ == "__main__":
    die_before(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
