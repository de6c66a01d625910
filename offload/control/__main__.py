"""``python3 -m offload.control``."""

from offload.control.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
