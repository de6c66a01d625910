"""What stands in braces in a machine's command and environment, and is filled in when it starts.

    names_in("--host {cloud} --summary {folder}/summary.json")   # ["cloud", "folder"]
    fill_in("{folder}/summary.json", {"folder": "/runs/1/pi"})   # "/runs/1/pi/summary.json"

Only a plain name in braces counts: other braces, as in JSON, stay as they are.
"""

import re
from collections.abc import Mapping
from typing import Final

# Where this machine's files are collected.
FOLDER: Final = "folder"

# The Python that runs the experiment.
PYTHON: Final = "python"

# No machine is called so; any other name in braces is a machine and stands for its address.
RESERVED: Final = (FOLDER, PYTHON)

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


def names_in(text: str) -> list[str]:
    """Return the names in braces, in their order."""
    return _PLACEHOLDER.findall(text)


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Put the values in the place of their names in braces.

    Raises:
        KeyError: A name has no value; `reading` lets no such experiment through.
    """
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)
