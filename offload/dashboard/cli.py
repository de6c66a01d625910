"""The command ``python3 -m offload.dashboard``: look back at a run in the web page.

It shows a trace, which either program writes with ``--trace F``, until it is interrupted. The
page's address goes to standard output. Exit codes: 0 interrupted, 2 wrong usage, or no trace.
"""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from typing import Final

from offload.arguments import Parser, path, port, print_lines, report_error
from offload.dashboard.app import Dashboard
from offload.dashboard.doors import OpenDoors
from offload.dashboard.serving import PageServer
from offload.dashboard.trace import TraceSource
from offload.errors import OffloadError
from offload.logs import set_up_logs
from offload.places import Place, is_loopback, listen, urls

_EXAMPLES: Final = """examples:
  python3 iot_client_coordinator.py 3 25 --host 192.0.2.7 --trace run.jsonl
  python3 -m offload.dashboard run.jsonl

Nobody has to sign in, so it listens on this machine only unless --bind says otherwise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    try:
        options = _parser().parse_args(arguments)
        set_up_logs(level="warning", style="text")
        source = TraceSource(options.trace)
        asyncio.run(_serve(source, Place(address=options.bind, port=options.port)))
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 0
    return 0


async def _serve(source: TraceSource, place: Place) -> None:
    """Show the page until a signal comes."""
    sockets = listen(place, option="--port")
    dashboard = Dashboard(source, OpenDoors(), cookie="none", is_loopback=is_loopback(sockets))
    server = PageServer(dashboard, sockets, tls=None)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    server.start()
    print_lines([f"{source.title}: {url}" for url in urls(sockets, tls=False)[:1]])
    await stop.wait()
    await server.close()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python3 -m offload.dashboard",
        description="Show a run that was recorded with --trace in the web page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trace", type=path, metavar="TRACE", help="the file that --trace wrote")
    parser.add_argument(
        "--port", type=port, default=0, metavar="P", help="port of the page (default: a free one)"
    )
    parser.add_argument(
        "--bind", metavar="ADDR", help="address to listen on (default: this machine only)"
    )
    return parser
