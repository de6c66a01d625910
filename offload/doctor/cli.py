"""The command ``python3 -m offload.doctor``.

One line for each check goes to standard output, then a verdict and what to type next. Exit codes: 0
if nothing failed; else that of the first failure, which the programs would end with: 2 wrong usage,
an app or a source that cannot be loaded, or a port that is taken; 69 no server, 76 a server that
does not fit, 77 a token that was refused, 1 anything else; 130 interrupted.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from offload.arguments import report_error
from offload.doctor import machine
from offload.doctor.options import Options, parse
from offload.doctor.progress import Progress
from offload.doctor.report import Report
from offload.errors import OffloadError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        with Progress(sys.stderr, os.environ) as progress:
            report = Report(progress, as_json=options.json)
            examine(options, os.environ, report)
            report.end()
        return report.exit_code
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130


def examine(options: Options, environment: Mapping[str, str], report: Report) -> None:
    """Look at everything that was asked for, as far as it can be looked at."""
    report.looks_at("Python and packages")
    installed = machine.installed_versions()
    broken = machine.broken_packages(installed)
    if not report.add(*machine.check_python(installed, machine.origins(), broken)):
        # Nothing else could even be loaded, and would say so in worse words.
        return
    report.add(machine.check_extras(installed))
    # Here, because these need the packages.
    if options.is_server:
        from offload.doctor.server import examine_server

        examine_server(options, environment, report)
    else:
        from offload.doctor.device import examine_device

        examine_device(options, environment, report)
