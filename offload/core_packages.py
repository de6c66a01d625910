"""End a program in one line where a package is missing without which nothing of it can run.

Import it before all else of ours: it looks for packages without loading them.
"""

from importlib.util import find_spec
from typing import Final

from offload.logs import write_last

# OpenCV and imutils are the example app's, which says so itself.
NEEDED: Final = ("numpy", "msgpack", "psutil")

# Of wrong usage (contract, section 4).
_EXIT_CODE: Final = 2

if missing := [name for name in NEEDED if find_spec(name) is None]:
    write_last(
        f"error: not installed: {', '.join(missing)}: type ./run setup in the project's folder, "
        "then . .venv/bin/activate; or python3 -m pip install -r requirements.txt\n"
    )
    raise SystemExit(_EXIT_CODE)
