"""Says what an experiment runs on: its figures belong to that machine.

describe_host()  # {"processor": "Intel(R) Xeon(R)", "cores": 2, "memory_bytes": 8326545408, ...}
"""

import os
import platform
from pathlib import Path


def describe_host() -> dict[str, object]:
    """Return the processor, cores, memory in bytes, system and Python, as host.json keeps them."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.is_file():
        for line in facts.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            # What x86 calls it, and what a Raspberry Pi does.
            if name.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
