"""Look at Python, its packages, and what the machine has."""

import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from offload.console.figures import size
from offload.doctor.children import run_child
from offload.doctor.findings import Finding, failed, ok, warning
from offload.errors import ConfigurationError

LEAST_PYTHON: Final = (3, 11)

# The core packages, and what each serves. OpenCV comes in several builds, of which one is enough.
PACKAGES: Final = ("numpy", "imutils", "psutil", "msgpack")
OPENCV_BUILDS: Final = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What ``./run setup NAME`` installs, and what for."""

    name: str
    serves: str
    packages: tuple[str, ...]


EXTRAS: Final = (
    Extra(
        name="dashboard",
        serves="web page (--dashboard of the server)",
        packages=("starlette", "uvicorn"),
    ),
    Extra(name="metrics", serves="metrics (--metrics-port)", packages=("prometheus-client",)),
)

# Importing all of them takes a small device some seconds. One that takes longer hangs.
IMPORT_S: Final = 20.0

# Modules of ours with names that others have, too.
COMMON_NAMES: Final = ("scheduler", "task_interface")

# The device program with OpenCV and some pictures in flight takes this much.
LEAST_DEVICE_BYTES: Final = 300 * 1000**2

# What a server opens beside its clients: handshakes, results, its own files.
OTHER_FILES: Final = 400


def check_python(
    installed: Mapping[str, str], origins: Mapping[str, str | None], broken: Mapping[str, str]
) -> list[Finding]:
    """Look at the interpreter and at what is installed for it.

    Args:
        installed: Versions of the distributions that are installed, by name.
        origins: Of each of `COMMON_NAMES` the file that an import would take; None if there is
            none.
        broken: Why distributions cannot be imported, by name.
    """
    return [_python(), _packages(installed, broken), *_shadowed(installed, origins)]


def check_extras(installed: Mapping[str, str]) -> Finding:
    """Say which extras are installed; none is needed.

    Args:
        installed: As `check_python` takes it.
    """
    return ok("extras", "; ".join(f"{each.serves}: {_state(each, installed)}" for each in EXTRAS))


def installed_versions() -> dict[str, str]:
    """Return the versions of what is asked for here, as far as it is installed."""
    found: dict[str, str] = {}
    extras = [name for each in EXTRAS for name in each.packages]
    for name in (*PACKAGES, *OPENCV_BUILDS, *COMMON_NAMES, *extras):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def broken_packages(installed: Iterable[str]) -> dict[str, str]:
    """Import what is installed in another process, and return why some cannot be, by name.

    What its metadata promise may be built for another processor, or miss a library.
    """
    modules = {
        name: "cv2" if name in OPENCV_BUILDS else name
        for name in installed
        if name in PACKAGES or name in OPENCV_BUILDS
    }
    if not modules or _import_error(*modules.values()) is None:
        return {}
    found = {name: _import_error(module) for name, module in modules.items()}
    return {name: error for name, error in found.items() if error is not None}


def origins() -> dict[str, str | None]:
    """Return where each of `COMMON_NAMES` would be imported from."""
    specs = {name: find_spec(name) for name in COMMON_NAMES}
    return {name: None if spec is None else spec.origin for name, spec in specs.items()}


def check_device_machine() -> list[Finding]:
    """Look at what a device has."""
    bits = struct.calcsize("P") * 8
    found = f"{platform.machine()}, {bits} bit, {_cores()}, {size(_free_bytes())} of memory free"
    if bits < 64:
        advice = "prefer the 64-bit system: OpenCV and numpy come ready to use for it"
        return [warning("machine", found, advice=advice)]
    if _free_bytes() < LEAST_DEVICE_BYTES:
        advice = f"the device program may take {size(LEAST_DEVICE_BYTES)}"
        return [warning("machine", found, advice=advice)]
    return [ok("machine", found)]


def check_server_machine(*, memory_bytes: int, max_clients: int) -> list[Finding]:
    """Look at what a server has.

    Args:
        memory_bytes: What frames of all devices may take.
        max_clients: How many devices there may be.
    """
    free, needed = _free_bytes(), max_clients + OTHER_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    findings = []
    found = f"{_cores()}, {size(free)} of memory free"
    if free < memory_bytes:
        advice = f"frames may take {size(memory_bytes)}; give a smaller --memory-limit"
        findings.append(warning("machine", found, advice=advice))
    else:
        findings.append(ok("machine", found))
    if hard != resource.RLIM_INFINITY and hard < needed:
        found = f"this user may open {hard}, {max_clients} clients need {needed}"
        advice = "raise the limit (ulimit -n), or give a smaller --max-clients"
        findings.append(warning("files", found, advice=advice))
    else:
        many = "any number" if hard == resource.RLIM_INFINITY else str(hard)
        findings.append(ok("files", f"this user may open {many}"))
    return findings


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        return failed("python", found, advice=f"expected {wanted} or newer", exit_code=_WRONG_USAGE)
    return ok("python", found)


def _import_error(*modules: str) -> str | None:
    ran = run_child(["-c", f"import {', '.join(modules)}"], timeout_s=IMPORT_S)
    if ran.code is None:
        return f"nothing came of it within {IMPORT_S:.0f} s"
    return ran.reason if ran.code else None


def _packages(installed: Mapping[str, str], broken: Mapping[str, str]) -> Finding:
    builds = [name for name in OPENCV_BUILDS if name in installed]
    missing = [name for name in PACKAGES if name not in installed]
    missing += [] if builds else [OPENCV_BUILDS[0]]
    if missing:
        return failed(
            "packages",
            f"not installed: {', '.join(missing)}",
            advice=f"{sys.executable} -m pip install -r requirements.txt",
            exit_code=_WRONG_USAGE,
        )
    if broken:
        names = " ".join(broken)
        why = "; ".join(f"{name} ({reason})" for name, reason in broken.items())
        return failed(
            "packages",
            f"installed, and cannot be imported: {why}",
            advice=f"./run setup, or {sys.executable} -m pip install --force-reinstall {names}",
            exit_code=_WRONG_USAGE,
        )
    found = ", ".join(f"{name} {installed[name]}" for name in (*builds, *PACKAGES))
    if len(builds) > 1:
        return warning(
            "packages",
            f"{found}; {' and '.join(builds)} overwrite each other's files",
            advice=f"uninstall both, then install one of them: pip uninstall {' '.join(builds)}",
        )
    return ok("packages", found)


def _state(extra: Extra, installed: Mapping[str, str]) -> str:
    missing = [name for name in extra.packages if name not in installed]
    if missing:
        return f"{', '.join(missing)} not installed, ./run setup {extra.name}"
    return ", ".join(f"{name} {installed[name]}" for name in extra.packages)


def _shadowed(installed: Mapping[str, str], origins: Mapping[str, str | None]) -> Iterable[Finding]:
    ours = Path(__file__).resolve().parents[2]
    for name, origin in origins.items():
        if origin is None or Path(origin).resolve().parent != ours:
            found = f"module {name} comes from {origin or 'nowhere'}, expected {ours}"
            yield failed("modules", found, advice=_instead(name), exit_code=_WRONG_USAGE)
        elif name in installed:
            found = f"another package {name} {installed[name]} is installed"
            advice = f"in other folders it would be imported instead of ours; {_instead(name)}"
            yield warning("modules", found, advice=advice)


def _instead(name: str) -> str:
    return f"pip uninstall {name}, or use a virtual environment of its own"


def _cores() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "1 processor" if cores == 1 else f"{cores} processors"


def _free_bytes() -> int:
    # Here, because a missing package is a finding and no reason to end.
    import psutil

    return int(psutil.virtual_memory().available)


_WRONG_USAGE: Final = ConfigurationError.exit_code
