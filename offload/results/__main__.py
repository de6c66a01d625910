"""``python3 -m offload.results``."""

from offload.results.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
