"""The command line of ``python3 -m offload.doctor``.

options = parse(sys.argv[1:], os.environ)
options.local_options(), options.server_options(servers)    # what the device program is given
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload import __version__
from offload.arguments import Parser, add_access_options, count, port_from, size
from offload.doctor.reading import DEFAULT_MARK
from offload.errors import ConfigurationError
from offload.server_limits import DEFAULT_MAX_CLIENTS, DEFAULT_MEMORY_BYTES, memory_bytes
from offload.servers import Server, add_host_option, add_tls_options, check_tls, read_servers
from offload.wire import MAX_MESSAGE_BYTES

DEFAULT_APP: Final = "ball_tracking_example"
DEFAULT_SOURCE: Final = "synthetic"
DEFAULT_RESULTS: Final = "sqlite:results.db"

# What means nothing for a server's machine, and what for a device.
_OF_DEVICES: Final = ("source", "host", "tls", "tls_ca", "tls_cert", "tls_key")
_OF_SERVERS: Final = ("bind", "results", "max_clients", "memory_limit")

# What says how a device talks to a server, and means nothing where none is named.
_NEED_HOST: Final = ("port", "tls", "tls_ca", "tls_cert", "tls_key", "token_file")

_EXAMPLES: Final = """examples:
  python3 -m offload.doctor --source camera:0
      this device alone: packages, camera, each task's time
  python3 -m offload.doctor --host 192.0.2.7 --source camera:0
      also the server, the link, and the frames per second to expect at each split
  python3 -m offload.doctor --server --results sqlite:/srv/results.db
      the machine of a server, before it starts
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for; ``servers`` is empty if the device is to be looked at alone."""

    is_server: bool
    json: bool
    apps: tuple[str, ...]
    source: str | None
    servers: tuple[Server, ...]
    port: int
    token_file: Path | None
    tls: bool
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    bind: str | None
    results: str
    max_clients: int
    memory_bytes: int

    @property
    def app(self) -> str:
        """The app of a device, which runs one."""
        return self.apps[0]

    @property
    def readable_source(self) -> str:
        """The source as `reading` takes it: whether the user named it makes a difference."""
        return self.source or f"{DEFAULT_MARK}{DEFAULT_SOURCE}"

    def local_options(self) -> list[str]:
        """Return what the device program is given for a run without a server."""
        source = [] if self.source is None else ["--source", self.source]
        return ["--app", self.app, *source]

    def server_options(self, servers: Sequence[Server]) -> list[str]:
        """Return what it is given on top for a run with a server, the first that takes it."""
        files = {
            "--token-file": self.token_file,
            "--tls-ca": self.tls_ca,
            "--tls-cert": self.tls_cert,
            "--tls-key": self.tls_key,
        }
        named = [part for name, file in files.items() if file for part in (name, str(file))]
        tls = ["--tls"] if self.tls else []
        hosts = ",".join(each.host for each in servers)
        return ["--host", hosts, "--port", str(self.port), *tls, *named]

    def server_command(self) -> list[str]:
        """Return what to type to start the server that was looked at."""
        parts = ["python3", "cloud_server_coordinator.py"]
        parts += [part for app in self.apps for part in ("--app", app)]
        parts += ["--bind", self.bind] if self.bind else []
        parts += ["--port", str(self.port), "--results", self.results]
        parts += ["--token-file", str(self.token_file)] if self.token_file else []
        if self.max_clients != DEFAULT_MAX_CLIENTS:
            parts += ["--max-clients", str(self.max_clients)]
        if self.memory_bytes != DEFAULT_MEMORY_BYTES:
            parts += ["--memory-limit", str(self.memory_bytes)]
        return parts


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line and the environment.

    Raises:
        ConfigurationError: They contradict themselves or each other.
    """
    parsed = _parser().parse_args(arguments)
    _check_kind(parsed)
    hosts = parsed.host if parsed.host is not None else environment.get("HOST", "")
    is_alone = parsed.server or not hosts.strip()
    if is_alone and not parsed.server:
        _check_alone(parsed)
    check_tls(parsed)
    port = port_from(parsed.port, environment)
    apps = tuple(parsed.app or [environment.get("OFFLOAD_APP") or DEFAULT_APP])
    if len(apps) > 1 and not parsed.server:
        raise ConfigurationError("--app is given several times: a device runs one")
    return Options(
        is_server=parsed.server,
        json=parsed.json,
        apps=apps,
        source=parsed.source or environment.get("OFFLOAD_SOURCE") or None,
        servers=() if is_alone else read_servers(hosts, port),
        port=port,
        token_file=parsed.token_file,
        tls=bool(parsed.tls),
        tls_ca=parsed.tls_ca,
        tls_cert=parsed.tls_cert,
        tls_key=parsed.tls_key,
        bind=parsed.bind or environment.get("BIND") or None,
        results=parsed.results or environment.get("OFFLOAD_RESULTS") or DEFAULT_RESULTS,
        max_clients=parsed.max_clients or DEFAULT_MAX_CLIENTS,
        memory_bytes=memory_bytes(parsed.memory_limit, max_frame_bytes=MAX_MESSAGE_BYTES),
    )


def _check_kind(parsed: argparse.Namespace) -> None:
    others = _OF_DEVICES if parsed.server else _OF_SERVERS
    for name in others:
        if getattr(parsed, name) is not None:
            option = name.replace("_", "-")
            raise ConfigurationError(
                f"--{option} is of a device: leave it out with --server"
                if parsed.server
                else f"--{option} is of a server: it goes with --server"
            )


def _check_alone(parsed: argparse.Namespace) -> None:
    for name in _NEED_HOST:
        if getattr(parsed, name) is not None:
            option = name.replace("_", "-")
            raise ConfigurationError(
                f"--{option} goes with --host: without a server only the device is looked at"
            )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python3 -m offload.doctor",
        description="Look at a device or a server before its first run, and say what to expect.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--server", action="store_true", help="look at the machine of a server instead")
    add("--json", action="store_true", help="write one JSON object, for scripts")
    add(
        "--app",
        action="append",
        metavar="MODULE[:ATTR]",
        help=f"the pipeline to run; of a server, repeat it (env OFFLOAD_APP; default: "
        f"{DEFAULT_APP})",
    )
    add(
        "--source",
        metavar="SPEC",
        help=f"as of the device program (env OFFLOAD_SOURCE; default: {DEFAULT_SOURCE})",
    )
    add_host_option(parser)
    add_access_options(parser)
    add_tls_options(parser)
    add("--bind", metavar="ADDR", help="server: address to listen on (env BIND; default: all)")
    add(
        "--results",
        metavar="URL",
        help=f"server: sqlite:FILE or none (env OFFLOAD_RESULTS; default: {DEFAULT_RESULTS})",
    )
    add(
        "--max-clients",
        type=count,
        metavar="N",
        help=f"server: most devices at a time (default: {DEFAULT_MAX_CLIENTS})",
    )
    add(
        "--memory-limit",
        type=size,
        metavar="SIZE",
        help="server: most that frames take in memory (default: 1GiB)",
    )
    add("--version", action="version", version=f"task-offload {__version__}")
    return parser
