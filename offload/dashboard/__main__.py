"""``python3 -m offload.dashboard``."""

import sys

from offload.arguments import report_error
from offload.dashboard import missing_extra


def _main() -> int:
    try:
        from offload.dashboard.cli import main
    except ModuleNotFoundError as error:
        return report_error(missing_extra(error))
    return main()


if __name__ == "__main__":
    sys.exit(_main())
