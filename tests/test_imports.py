"""What may import what, and what a device must never load.

ARCHITECTURE.md's import directions are checked on the source text; the tables below are the rules.
What a program loads in the end is checked on running ones.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from tests.integration.programs import CLIENT, Ended, cloud_server, started, write_app

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("offload", "ball_tracking_example", "benchmarks", "tests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name, such as ``offload.values.pack``, and where it is imported."""

    path: str
    line: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyIn:
    """``modules`` are imported in ``files`` and nowhere else."""

    modules: tuple[str, ...]
    files: tuple[str, ...]
    reason: str

    def is_broken_by(self, found: Import, _ours: frozenset[str]) -> bool:
        return is_within(found.name, self.modules) and not matches(found.path, self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Never:
    """``files`` do not import ``modules``."""

    files: tuple[str, ...]
    modules: tuple[str, ...]
    reason: str

    def is_broken_by(self, found: Import, _ours: frozenset[str]) -> bool:
        return matches(found.path, self.files) and is_within(found.name, self.modules)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfOurs:
    """Of the project's own modules, ``files`` import ``allowed`` and no other."""

    files: tuple[str, ...]
    allowed: tuple[str, ...]
    reason: str
    exceptions: tuple[str, ...] = ()

    def is_broken_by(self, found: Import, ours: frozenset[str]) -> bool:
        return (
            matches(found.path, self.files)
            and not matches(found.path, self.exceptions)
            and top_level(found.name) in ours
            and not is_within(found.name, self.allowed)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfOthers:
    """Beside the standard library and the project, ``files`` import ``allowed`` and no other."""

    files: tuple[str, ...]
    allowed: tuple[str, ...]
    reason: str

    def is_broken_by(self, found: Import, ours: frozenset[str]) -> bool:
        return (
            matches(found.path, self.files)
            and top_level(found.name) not in ours | sys.stdlib_module_names
            and not is_within(found.name, self.allowed)
        )


Rule = OnlyIn | Never | OfOurs | OfOthers

# From the folder of a run to its report; what is drawn needs no file.
REPORT_VALUES: Final = tuple(
    f"offload/emulation/report/{name}.py"
    for name in (
        *("recording", "recorded_experiment", "curves", "tables", "findings"),
        *("axes", "charts", "page_tables", "wording"),
    )
)
REPORTING: Final = (
    *REPORT_VALUES,
    *(
        f"offload/emulation/report/{name}.py"
        for name in ("__init__", "run_folder", "run_files", "page")
    ),
)

# From the text of an experiment file to its values.
EXPERIMENT_VALUES: Final = (
    "offload/emulation/experiment.py",
    "offload/emulation/topology.py",
    *(
        f"offload/emulation/files/{name}.py"
        for name in ("units", "settings", "placeholders", "older_units", "older_connections")
    ),
)

PURE: Final = (
    "task_interface.py",
    "scheduler.py",
    *(f"offload/{name}.py" for name in ("errors", "server_limits", "sizes", "throttle")),
    *(f"offload/{name}/*" for name in ("messages", "wire", "scheduling", "session")),
    *(
        f"offload/console/{name}.py"
        for name in ("__init__", "text", "figures", "table", "device_line", "server_rows")
    ),
    *("offload/device/final_table.py", "offload/cloud/final_table.py"),
    *(f"offload/telemetry/{name}.py" for name in ("__init__", "events", "form", "history")),
    *(f"offload/telemetry/{name}.py" for name in ("stream_history", "samples", "notices")),
    *(f"offload/dashboard/{name}.py" for name in ("visitors", "sign_in_limits", "form")),
    *(f"offload/metrics/{name}.py" for name in ("__init__", "families", "device")),
    *(f"offload/metrics/{name}.py" for name in ("device_families", "server_families")),
    *(f"offload/values/{name}.py" for name in ("__init__", "form", "unpacking", "encodings")),
    *(f"offload/device/{name}.py" for name in ("outbox", "totals", "link", "pictures")),
    *(f"offload/device/{name}.py" for name in ("encoding_choice", "steering", "survey")),
    *(f"offload/cloud/{name}.py" for name in ("link_watch", "memory_budget", "picture_watch")),
    *REPORT_VALUES,
    *EXPERIMENT_VALUES,
    "offload/emulation/links/relay_messages.py",
)

RULES: Final[Sequence[Rule]] = (
    OnlyIn(
        modules=("iot_client_coordinator", "cloud_server_coordinator"),
        files=(),
        reason="a script that runs as __main__ and is imported again exists twice",
    ),
    OnlyIn(
        modules=("socket",),
        files=(
            "offload/transport.py",
            "offload/emulation/local/probe_traffic.py",
            "offload/metrics/endpoint.py",
            "cloud_server_coordinator.py",
            "benchmarks/peer_*.py",
            "benchmarks/relayed.py",
            "benchmarks/page_devices.py",
            "tests/integration/*",
            "tests/faults/*",
        ),
        reason="the core is bytes in, events out; only its shells wait for a network",
    ),
    OnlyIn(
        modules=("asyncio",),
        files=(
            *("offload/cloud/*", "offload/dashboard/*", "cloud_server_coordinator.py"),
            *("tests/integration/*", "tests/faults/*"),
        ),
        reason="it is the cloud's shell; a device would pay for it with 7 MB",
    ),
    OnlyIn(
        modules=("starlette", "uvicorn"),
        files=("offload/dashboard/*", "tests/integration/*"),
        reason="they are an extra, which the page alone needs",
    ),
    OnlyIn(
        modules=("offload.dashboard",),
        files=("offload/dashboard/*", "offload/cloud/page.py", "tests/*"),
        reason="a program without a page does without it",
    ),
    Never(
        files=("offload/dashboard/*",),
        modules=("offload.cloud", "offload.device"),
        reason="the page is told what it shows, by a server or by a trace",
    ),
    OnlyIn(
        modules=("offload.cloud",),
        files=("offload/cloud/*", "cloud_server_coordinator.py", "benchmarks/*", "tests/*"),
        reason="it loads asyncio, which a device does without",
    ),
    OnlyIn(
        modules=("offload.device", "offload.spool"),
        files=(
            *("offload/device/*", "offload/spool/*"),
            *("iot_client_coordinator.py", "benchmarks/*", "tests/*"),
        ),
        reason="the cloud has no use for it",
    ),
    OnlyIn(
        modules=("ssl",),
        files=(
            *("offload/tls/*", "offload/cloud/*", "offload/dashboard/serving.py"),
            *("cloud_server_coordinator.py", "tests/*"),
        ),
        reason="a device without TLS does without its 5 MB",
    ),
    OnlyIn(
        modules=("msgpack",),
        files=("offload/wire/*", "offload/results/*", "tests/*"),
        reason="msgpack does not bound memory, so what calls it must",
    ),
    OnlyIn(
        modules=("cv2",),
        files=(
            "offload/values/encodings.py",
            "offload/device/display.py",
            "ball_tracking_example/*",
            "task_interface_example.py",
            "benchmarks/*",
            "tests/*",
        ),
        reason="pictures are the apps' business, and how they travel that of encodings",
    ),
    OnlyIn(
        modules=("prometheus_client", "offload.metrics.exposition"),
        files=("offload/metrics/exposition.py", "offload/metrics/endpoint.py", "tests/*"),
        reason="it is an extra, and a device pays for it when it is asked for metrics, not before",
    ),
    OnlyIn(
        modules=("offload.metrics.endpoint",),
        files=("offload/metrics/__init__.py", "tests/*"),
        reason="it loads the extra, so it is imported where one is asked for",
    ),
    OnlyIn(
        modules=("zlib",),
        files=("offload/values/encodings.py", "tests/*"),
        reason="what a peer compressed is bounded where it is decompressed",
    ),
    OnlyIn(
        modules=("offload.emulation",),
        files=("offload/emulation/*", "benchmarks/*", "tests/*"),
        reason="it is a test bench, and no part of what runs on devices and in the cloud",
    ),
    OnlyIn(
        modules=("pyroute2",),
        files=(
            *("offload/emulation/local/network.py", "offload/emulation/links/tap.py"),
            *("benchmarks/*", "tests/*"),
        ),
        reason="plans, manifests and reports are made without the package",
    ),
    OfOurs(
        files=("offload/emulation/local/entering.py",),
        allowed=(),
        reason="it runs as a file of its own, before each program",
    ),
    OfOthers(
        files=("offload/emulation/local/entering.py",),
        allowed=(),
        reason="it runs without site packages, to be quick",
    ),
    OnlyIn(
        modules=("jsonschema",),
        files=(
            "offload/emulation/files/checking.py",
            "offload/emulation/rendering/checking.py",
            "tests/*",
        ),
        reason="what it finds is turned into errors that a user can read",
    ),
    OnlyIn(
        modules=("yaml",),
        files=("offload/emulation/rendering/*", "tests/*"),
        reason="only what is rendered for Kubernetes is YAML, and no run needs the package",
    ),
    Never(
        files=("offload/emulation/rendering/*",),
        modules=(
            *("socket", "ssl", "asyncio", "subprocess", "threading"),
            *("time", "random", "os", "tempfile"),
        ),
        reason="it renders, from values to text, and talks to no cluster",
    ),
    OfOthers(
        files=REPORTING,
        allowed=(),
        reason="a report can be made of any run, anywhere, without the extra",
    ),
    OfOurs(
        files=("offload/*",),
        allowed=("offload",),
        exceptions=(
            *("offload/loading.py", "offload/executors/*_frame.py"),
            *(f"offload/device/{name}.py" for name in ("feedback", "choosing", "survey")),
        ),
        reason="the package moves bytes and numbers, and knows no tasks and no splits",
    ),
    OfOurs(
        files=tuple(f"offload/device/{name}.py" for name in ("feedback", "choosing", "survey")),
        allowed=("offload", "scheduler", "task_interface"),
        reason="they ask the scheduler how a pipeline's frames are run, and tell it of them",
    ),
    OfOurs(
        files=("offload/executors/*_frame.py",),
        allowed=("offload", "task_interface"),
        reason="a frame's work is to run tasks, wherever an executor has it run",
    ),
    OfOurs(
        files=("offload/loading.py",),
        allowed=("offload", "task_interface"),
        reason="it turns an app's module into a pipeline, and needs nothing else",
    ),
    OfOurs(
        files=("task_interface.py",),
        allowed=("offload.errors", "offload.values"),
        reason="an app author reads this file alone",
    ),
    OfOthers(
        files=("task_interface.py",),
        allowed=(),
        reason="an app brings its own libraries; the interface asks for none",
    ),
    OfOurs(
        files=("scheduler.py", "offload/scheduling/*"),
        allowed=("offload.scheduling",),
        reason="to the scheduler an operating point is numbers",
    ),
    OnlyIn(
        modules=("offload.scheduling",),
        files=("scheduler.py", "offload/scheduling/*", "tests/*"),
        reason="callers import the scheduler, and it alone knows its parts",
    ),
    OfOthers(
        files=("scheduler.py", "offload/scheduling/*"),
        allowed=(),
        reason="it weighs a few points, which Python's own numbers do quicker than arrays",
    ),
    OfOurs(
        files=("ball_tracking_example/*",),
        allowed=("task_interface", "ball_tracking_example"),
        reason="an app imports task_interface and nothing else of ours",
    ),
    OfOurs(
        files=("task_interface_example.py",),
        allowed=("task_interface",),
        reason="an app imports task_interface and nothing else of ours",
    ),
    Never(
        files=("offload/emulation/links/link_model.py",),
        modules=(
            *("socket", "select", "asyncio", "threading", "subprocess"),
            *("time", "os", "pathlib", "pyroute2"),
        ),
        reason="a link's model is pure, but for the losses that its seed decides",
    ),
    Never(
        files=PURE,
        modules=(
            *("socket", "ssl", "selectors", "asyncio"),
            *("threading", "multiprocessing", "concurrent", "subprocess"),
            *("time", "random", "secrets", "os", "pathlib", "tempfile", "sqlite3"),
        ),
        reason="a pure module has no sockets, threads, files, clocks or randomness",
    ),
)


def violations(root: Path) -> list[str]:
    """Return one line for each import under ``root`` that breaks a rule."""
    files = source_files(root)
    ours = frozenset(
        top_level(".".join(file.relative_to(root).with_suffix("").parts)) for file in files
    )
    return [
        f"{found.path}:{found.line} imports {found.name}: {rule.reason}"
        for file in files
        for found in imports(file, root)
        for rule in RULES
        if rule.is_broken_by(found, ours)
    ]


def source_files(root: Path) -> list[Path]:
    files = list(root.glob("*.py"))
    for package in PACKAGES:
        files += (root / package).rglob("*.py")
    return sorted(files)


def imports(file: Path, root: Path) -> Iterator[Import]:
    """Yield what ``file`` imports anywhere: inside functions and for type checkers too."""
    path = file.relative_to(root)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from offload import values` imports a module as much as `import offload.values`.
            package = path.parts[: -node.level] if node.level else ()
            base = ".".join([*package, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(path=path.as_posix(), line=node.lineno, name=name)


def top_level(name: str) -> str:
    return name.partition(".")[0]


def is_within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def test_every_import_of_the_project_goes_in_an_allowed_direction() -> None:
    assert violations(ROOT) == []


def test_the_project_itself_is_what_is_searched() -> None:
    searched = {file.relative_to(ROOT).as_posix() for file in source_files(ROOT)}
    assert {"offload/__init__.py", "offload/errors.py", "tests/test_imports.py"} <= searched


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("offload/recorders.py", "from cloud_server_coordinator import main"),
        ("iot_client_coordinator.py", "import cloud_server_coordinator"),
        ("tests/test_client.py", "import iot_client_coordinator"),
        ("iot_client_coordinator.py", "import socket"),
        ("offload/spool/__init__.py", "import asyncio"),
        ("offload/transport.py", "import asyncio"),
        ("offload/device/uplink.py", "from offload.cloud import transport"),
        ("offload/spool/__init__.py", "def f():\n    from asyncio import run"),
        ("tests/test_spool.py", "import socket"),
        ("offload/spool/__init__.py", "import msgpack"),
        ("cloud_server_coordinator.py", "import msgpack"),
        ("offload/spool/__init__.py", "import cv2"),
        ("offload/values/__init__.py", "import cv2"),
        ("offload/values/__init__.py", "import zlib"),
        ("offload/device/encoding_choice.py", "from time import monotonic"),
        ("offload/device/link.py", "import time"),
        ("offload/device/steering.py", "import threading"),
        ("offload/control/cli.py", "from offload.device.options import parse"),
        ("offload/cloud/page.py", "def f():\n    import starlette"),
        ("offload/dashboard/live.py", "from offload.cloud.steering import Steering"),
        ("cloud_server_coordinator.py", "from offload.dashboard.serving import PageServer"),
        ("offload/telemetry/history.py", "from time import monotonic"),
        ("offload/control/connection.py", "from offload.cloud.steering import Steering"),
        ("scheduler.py", "import cv2.typing"),
        ("offload/spool/__init__.py", "import scheduler"),
        ("offload/session/core.py", "from task_interface import Pipeline"),
        ("offload/loading.py", "import scheduler"),
        ("offload/loading.py", "import ball_tracking_example.scene"),
        ("task_interface.py", "from offload import session"),
        ("task_interface.py", "import offload"),
        ("task_interface.py", "import offload.errors_of_others"),
        ("task_interface.py", "import numpy"),
        ("scheduler.py", "from offload.errors import OffloadError"),
        ("offload/scheduling/mixture.py", "import scheduler"),
        ("offload/scheduling/model.py", "from offload.errors import OffloadError"),
        ("offload/device/uplink.py", "from offload.scheduling.terms import Choice"),
        ("scheduler.py", "import numpy as np"),
        ("offload/scheduling/model.py", "from time import monotonic"),
        ("ball_tracking_example/taskified.py", "from offload.errors import LoadingError"),
        ("task_interface_example.py", "import ball_tracking_example"),
        ("offload/wire/decoder.py", "import threading"),
        ("offload/messages/frames.py", "import time"),
        ("scheduler.py", "from time import monotonic"),
        ("offload/values/__init__.py", "from concurrent.futures import ThreadPoolExecutor"),
        ("offload/executors/pool.py", "import task_interface"),
        ("offload/executors/cloud_frame.py", "import scheduler"),
        ("offload/emulation/files/units.py", "import os"),
        ("offload/emulation/links/link_model.py", "from time import monotonic"),
        ("offload/emulation/links/relay_messages.py", "import random"),
        ("offload/emulation/files/reading.py", "def f():\n    from jsonschema import validate"),
        ("offload/emulation/report/charts.py", "import matplotlib"),
        ("offload/emulation/report/curves.py", "from pathlib import Path"),
        ("offload/emulation/files/reading.py", "def f():\n    import yaml"),
        ("offload/emulation/local/planning.py", "from pyroute2 import IPRoute"),
        ("offload/emulation/local/entering.py", "from offload.errors import EmulationError"),
        ("offload/device/uplink.py", "from offload.emulation import experiment"),
        ("offload/emulation/rendering/links.py", "from subprocess import run"),
        ("offload/metrics/device.py", "import prometheus_client"),
        ("offload/metrics/server.py", "from offload.metrics.exposition import PageWriter"),
        ("iot_client_coordinator.py", "from offload.metrics.endpoint import MetricsEndpoint"),
        ("offload/metrics/families.py", "import threading"),
    ],
)
def test_a_forbidden_import_is_named_with_its_file_and_line(
    tmp_path: Path, path: str, text: str
) -> None:
    ours = ("scheduler", "task_interface", "iot_client_coordinator", "cloud_server_coordinator")
    tree = {f"{name}.py": "" for name in ours}
    tree |= {"offload/__init__.py": "", "ball_tracking_example/__init__.py": ""}
    found = violations(write_tree(tmp_path, tree | {path: text}))
    assert found
    assert all(line.startswith(f"{path}:") and " imports " in line for line in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("offload/transport.py", "import socket"),
        ("offload/cloud/transport.py", "import asyncio"),
        ("cloud_server_coordinator.py", "import asyncio"),
        ("tests/integration/test_twins.py", "import socket"),
        ("offload/results/cli.py", "import msgpack"),
        ("offload/emulation/report/page_tables.py", "import signal"),
        ("offload/emulation/links/link_model.py", "from random import Random"),
        ("offload/emulation/rendering/text.py", "def f():\n    import yaml"),
        ("offload/values/encodings.py", "def f():\n    import cv2, zlib"),
        ("offload/metrics/exposition.py", "from prometheus_client import Metric"),
        ("offload/metrics/__init__.py", "def f():\n    from offload.metrics import endpoint"),
        ("offload/loading.py", "from task_interface import Pipeline"),
        ("offload/session/core.py", "from .. import wire\nfrom ..messages import Outcome"),
        ("offload/executors/cloud_frame.py", "from task_interface import BoundPipeline"),
        ("offload/executors/threads.py", "from ..errors import TaskError\nimport threading"),
        ("task_interface.py", "from offload import errors\nfrom offload.values import Value"),
        ("scheduler.py", "import math\nfrom statistics import fmean"),
        ("scheduler.py", "from offload.scheduling.mixture import cheapest"),
        ("ball_tracking_example/taskified.py", "import cv2\nfrom .scene import Scene"),
        ("task_interface_example.py", "from task_interface import task"),
    ],
)
def test_an_import_that_the_design_allows_is_not_reported(
    tmp_path: Path, path: str, text: str
) -> None:
    tree = {"offload/__init__.py": "", "task_interface.py": "", path: text}
    assert violations(write_tree(tmp_path, tree)) == []


# What a device program loads

# Each costs megabytes or milliseconds that a small device does not have to spare.
HEAVY: Final = ("asyncio", "ssl", "sqlite3", "imutils", "concurrent", "multiprocessing", "http")

# They belong to the cloud, to optional extras, or to the benchmarks.
EXTRAS: Final = (
    *("zmq", "imagezmq", "ray", "psycopg", "prometheus_client", "starlette", "uvicorn", "uvloop"),
    *("offload.cloud.transport", "offload.cloud.options", "benchmarks"),
)

# OpenSSL's half of hashlib: only the handshake with a server computes a hash.
HASHES: Final = ("hmac", "_hashlib")

QUIET_APP: Final = """
from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    yield from range(3)

@task()
def finish(number: int) -> int:
    return number

pipeline = Pipeline([numbers, finish])
"""

# Runs the device program as a user does, and says in the end what it has loaded.
LOADED_BY: Final = f"""
import runpy, sys
sys.argv[0], sys.path[0] = {str(CLIENT)!r}, {str(ROOT)!r}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("loaded", *sys.modules)
"""


def loaded_by(folder: Path, *arguments: str) -> list[str]:
    """Run the device program to its end and return the names of its modules."""
    script = folder / "loaded_by.py"
    script.write_text(LOADED_BY, encoding="utf-8")
    with started(script, folder, *arguments) as program:
        ended: Ended = program.wait()
    assert ended.code == 0, ended.err
    return ended.out.splitlines()[-1].split()[1:]


def found_within(loaded: list[str], *modules: str) -> list[str]:
    return [name for name in loaded if is_within(name, modules)]


@pytest.mark.integration
def test_the_modules_of_the_device_program_load_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--version")
    assert "offload.device.uplink" in loaded
    assert found_within(loaded, *HEAVY, *EXTRAS, *HASHES, "cv2") == []


@pytest.mark.integration
def test_a_client_only_run_loads_nothing_heavy(tmp_path: Path) -> None:
    app = write_app(tmp_path, "quiet", QUIET_APP)
    loaded = loaded_by(tmp_path, "--app", app, "--results", "none")
    assert app in loaded
    assert found_within(loaded, *HEAVY, *EXTRAS, *HASHES, "cv2") == []


@pytest.mark.integration
def test_sqlite_is_loaded_for_a_results_file_and_nothing_else_is(tmp_path: Path) -> None:
    app = write_app(tmp_path, "quiet", QUIET_APP)
    loaded = loaded_by(tmp_path, "--app", app, "--results", "sqlite:results.db")
    assert found_within(loaded, *HEAVY, *EXTRAS, *HASHES) == found_within(loaded, "sqlite3") != []


@pytest.mark.integration
def test_the_device_half_of_a_split_run_loads_nothing_heavy_but_hashes(tmp_path: Path) -> None:
    app = write_app(tmp_path, "quiet", QUIET_APP)
    with cloud_server(tmp_path, "--app", app, "--results", "none") as server:
        loaded = loaded_by(tmp_path, "1", *server.address, "--app", app)
    assert set(found_within(loaded, *HASHES)) == set(HASHES)
    assert found_within(loaded, *HEAVY, *EXTRAS, "cv2") == []


@pytest.mark.integration
def test_tracking_a_ball_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--source", "synthetic", "--frames", "3", "--results", "none")
    assert "cv2" in loaded
    assert found_within(loaded, *HEAVY, *EXTRAS) == []


@pytest.mark.integration
def test_what_serves_metrics_is_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    app = write_app(tmp_path, "quiet", QUIET_APP)
    loaded = loaded_by(tmp_path, "--app", app, "--metrics-port", "0")
    assert found_within(loaded, "prometheus_client")
    assert found_within(loaded, "asyncio", "sqlite3", "imutils", "cv2", "offload.cloud") == []
