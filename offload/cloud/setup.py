"""What the cloud program needs before it serves: apps, tokens, TLS. Errors name what to change.

setup = set_up(sys.argv[1:], os.environ)
setup.options, setup.apps, setup.store, setup.access, setup.tls
"""

import logging
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offload.arguments import check_writable
from offload.auth import ServerTokens, load_device_token, load_server_tokens
from offload.cloud.access import Access
from offload.cloud.admission import note_tls_refusal
from offload.cloud.options import Options, TlsFiles, parse
from offload.loading import App, check_names, load_app
from offload.logs import write_last
from offload.results import ResultsStore, open_results

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the user asked for, and what was loaded for it.

    Attributes:
        options: The command line.
        apps: The pipelines, by name.
        store: Where results are kept.
        access: Who may come in.
        tls: What TLS needs; None to speak without.
    """

    options: Options
    apps: Mapping[str, App]
    store: ResultsStore
    access: Access
    tls: ssl.SSLContext | None


def set_up(arguments: Sequence[str], environment: Mapping[str, str]) -> Setup:
    """Read the command line, and load what it names.

    Raises:
        OffloadError: It names something that cannot be used.
    """
    options = parse(arguments, environment)
    apps = _load_apps(options.apps)
    check_writable(options.summary)
    tls = _load_tls(options.tls)
    tokens = _load_tokens(options.token_file, insecure=options.insecure, environment=environment)
    return Setup(
        options=options,
        apps=apps,
        store=_open_store(options.results),
        access=Access(tokens),
        tls=tls,
    )


def _open_store(url: str) -> ResultsStore:
    store = open_results(url)
    if not store.durable:
        logger.warning(
            "results_not_kept",
            extra={"why": "--results none: exactly once holds only while this server lives"},
        )
    return store


def _load_apps(specs: Sequence[str]) -> dict[str, App]:
    """Load the pipelines, by name, and say which tasks' state a restart loses.

    Raises:
        ConfigurationError: One is given twice, or contradicts itself.
        LoadingError: One cannot be loaded.
    """
    apps = [load_app(spec, source=None) for spec in specs]
    check_names([app.name for app in apps])
    for app in apps:
        for name in app.pipeline.forgetful:
            logger.warning(
                "state_not_kept",
                extra={"app": app.name, "task": name, "why": "it has no snapshot and restore"},
            )
    return {app.name: app for app in apps}


def _load_tls(files: TlsFiles | None) -> ssl.SSLContext | None:
    """Load what TLS needs, if it was asked for.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if files is None:
        return None
    # Here, because it reads the system's OpenSSL tables, which a server without TLS does without.
    from offload.tls import server_context

    return server_context(
        files.certificate, files.key, files.client_ca, on_refused=note_tls_refusal
    )


def _load_tokens(
    path: Path | None, *, insecure: bool, environment: Mapping[str, str]
) -> ServerTokens:
    """Load the tokens; on the first start make one, and say how a device gets it.

    Raises:
        ConfigurationError: They cannot be used.
    """
    if insecure:
        why = "any peer is accepted without a token: leave --insecure out where others reach it"
        logger.warning("insecure", extra={"why": why})
        if path is None and load_device_token(None, environment) is None:
            return ServerTokens(tokens={}, path=None, created=False)
    # A server that accepts anybody still proves itself to devices that have a token of its.
    tokens = load_server_tokens(path, environment)
    if tokens.created:
        write_last(
            f"made a token in {tokens.path}: this user's programs find it by themselves; "
            "a device on another machine gets a copy of that file with --token-file\n"
        )
        if sys.stderr is not None and sys.stderr.isatty():
            for token in tokens.tokens.values():
                write_last(f"  or there: export OFFLOAD_TOKEN={token.line()}\n")
    return tokens
