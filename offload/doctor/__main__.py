"""``python3 -m offload.doctor``."""

from offload.doctor.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
