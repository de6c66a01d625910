"""The web page: what devices do now, and how they are steered; or a recorded run.

``sources`` says what the page is fed from: ``live`` is a server, ``trace`` a file. ``app`` has the
routes, ``serving`` the sockets. Whoever asks is a `Visitor`; ``doors`` says who may come in. The
page itself is in ``static``.

It needs the extra ``dashboard``; whoever imports more than this module says so where it is missing.
"""

from typing import Final

from offload.errors import ConfigurationError

PACKAGES: Final = ("starlette", "uvicorn")


def missing_extra(error: ModuleNotFoundError) -> ConfigurationError:
    """Return what the user is told; raise ``error`` again if it is none of the extra's packages."""
    if (error.name or "").partition(".")[0] not in PACKAGES:
        raise error
    return ConfigurationError(
        f"the page needs package {error.name}, which is not installed: ./run setup dashboard, or "
        f"python3 -m pip install {' '.join(PACKAGES)}"
    )
