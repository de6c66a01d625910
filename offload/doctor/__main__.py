"""``python3 -m offload.doctor``."""

import offload.core_packages  # noqa: F401  # first: it says which ones are missing
from offload.doctor.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
