"""``python3 -m offload.auth``."""

from offload.auth.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
