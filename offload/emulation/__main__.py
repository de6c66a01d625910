"""``python3 -m offload.emulation``."""

from offload.emulation.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
