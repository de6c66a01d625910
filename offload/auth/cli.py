"""The command ``python3 -m offload.auth``: make, show and withdraw tokens; make certificates.

A change of a token file is whole or not there, whatever ends the program, and of changes at the
same time none is lost. Hints go to standard error, what was asked for to standard output; a secret
is shown on a terminal, or if ``show NAME`` asks for it. Exit codes: 0 done, 1 standard output
cannot be written, 2 wrong usage or a file that cannot be changed, 130 interrupted.
"""

import argparse
import fcntl
import os
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from offload.arguments import Parser, print_lines, report_error
from offload.auth import (
    FILE_VARIABLE,
    MAX_TOKEN_FILE_BYTES,
    TOKEN_VARIABLE,
    Token,
    TokenRole,
    default_token_path,
    new_token,
    parse_tokens,
    read_token_file,
)
from offload.auth.certificates import Certificates, default_hosts, make_certificates
from offload.errors import ConfigurationError, OffloadError
from offload.logs import write_last

# A change takes milliseconds. Who holds the lock for longer has stopped, and would stop us as well.
LOCK_TIMEOUT_S: Final = 10.0
_LOCK_POLL_S: Final = 0.02

_COMMAND: Final = "python3 -m offload.auth"

_EXAMPLES: Final = """examples:
  python3 -m offload.auth new garden
  python3 -m offload.auth show garden > garden.token && chmod 600 garden.token
  python3 -m offload.auth revoke garden
  python3 -m offload.auth self-signed certificates --host cloud.example --host 192.0.2.7

A server reads its token file when it starts and when it gets SIGHUP: kill -HUP PID, where
pgrep -af cloud.server shows the PID of each."""

# Both names of the program match: its file's, and its console script's.
_TELL_SERVER: Final = "kill -HUP PID (pgrep -af cloud.server shows it)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    try:
        options = _parser().parse_args(arguments)
        if options.command == "self-signed":
            hosts = options.host or default_hosts()
            _explain_certificates(make_certificates(options.folder, hosts=hosts), hosts)
        else:
            _run(options, os.environ)
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130
    return 0


def add_token(path: Path, token: Token) -> None:
    """Append a token to a token file; make the file and its folder if they are missing.

    Raises:
        ConfigurationError: The file has a token of that name, is no good token file, would get
            too long, or cannot be changed.
    """

    def added(text: str) -> str:
        if token.name in parse_tokens(text, str(path)):
            raise ConfigurationError(
                f"{path} has a token named {token.name} already, expected a new name, or first: "
                f"{_command(path, 'revoke', token.name)}"
            )
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}{token.line()}\n"

    try:
        path.parent.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        # A folder, as a rule; if it is a file, the change says so.
        pass
    except OSError as error:
        raise _unchangeable(path, error) from error
    _change(path, added)


def remove_token(path: Path, name: str) -> None:
    """Remove the line of a token from a token file; all other lines stay as they are.

    Raises:
        ConfigurationError: There is no such token; it is the only one, and no server accepts a
            file without a token; the file is missing, no good token file or cannot be changed.
    """

    def removed(text: str) -> str:
        tokens = _parse(text, path)
        _token(tokens, name, path)
        if len(tokens) == 1:
            raise ConfigurationError(
                f"{name} is the only token of {path}, and a server needs one; first add another: "
                f"{_command(path, 'new', 'NAME')}"
            )
        return "\n".join(line for line in text.split("\n") if not _is_line_of(line, name))

    if read_token_file(path) is None:
        raise _missing(path)
    _change(path, removed)


def _run(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    named = options.token_file or environ.get(FILE_VARIABLE)
    path = Path(named) if named else default_token_path(environ)
    if not named and environ.get(TOKEN_VARIABLE):
        _say(f"note: programs with the variable {TOKEN_VARIABLE} as it is here do not read {path}")
    if options.command == "new":
        token = new_token(options.name, role=options.role)
        add_token(path, token)
        _explain_token(token, path)
    elif options.command == "revoke":
        remove_token(path, options.name)
        _say(f"removed {options.name} from {path}")
        _say(f"a running server goes on accepting it until it is told: {_TELL_SERVER}")
    elif options.name is None:
        table = _table(_read(path))
        _say(f"tokens in {path}:")
        print_lines(table)
    else:
        print_lines([_token(_read(path), options.name, path).line()])


def _explain_token(token: Token, path: Path) -> None:
    _say(f"added {token.name} to {path}")
    _say(f"a running server accepts it once it is told: {_TELL_SERVER}")
    show = _command(path, "show", token.name)
    if token.role is TokenRole.OPERATOR:
        _say(f"it is an operator's: no device uses it; to see it: {show}")
    elif token.role is TokenRole.VIEWER:
        _say(f"it is a viewer's, for signing in to the web page; to see it: {show}")
    else:
        file = f"{token.name}.token"
        _say(f"for its device make a file: {show} > {file} && chmod 600 {file}")
        _say(f"and start the device with a copy of that: --token-file {file}")
    if sys.stderr is not None and sys.stderr.isatty():
        _say(f"or with: export {TOKEN_VARIABLE}={shlex.quote(token.line())}")


def _explain_certificates(made: Certificates, hosts: Sequence[str]) -> None:
    def files(*pairs: str | Path) -> str:
        return shlex.join(map(str, pairs))

    certificate = files("--tls-cert", made.server, "--tls-key", made.server_key)
    own = files("--tls-cert", made.device.name, "--tls-key", made.device_key.name)
    _say(f"made certificates in {made.ca.parent}; the server's is for {', '.join(hosts)}")
    _say(f"server: python3 cloud_server_coordinator.py {certificate}")
    _say(f"device: gets a copy of {made.ca.name}; --tls --tls-ca {made.ca.name}")
    _say("to let in only devices that have a certificate, besides their token:")
    _say(f"server: also {files('--tls-client-ca', made.ca)}")
    _say(f"device: gets copies of {made.device.name} and {made.device_key.name} too; also {own}")
    _say(f"{made.ca_key.name} stays here: whoever has it can pass for your server")


def _table(tokens: Mapping[str, Token]) -> list[str]:
    width = max(map(len, ["name", *tokens]))
    roles = {token.name: token.role for token in tokens.values()}
    return [f"{name:{width}}  {role}" for name, role in [("name", "role"), *roles.items()]]


def _command(path: Path, *words: str) -> str:
    """Return what to type to have this command work on a token file, from here."""
    at = [] if path == _usual_path(os.environ) else ["--token-file", str(path)]
    return shlex.join([*_COMMAND.split(), *words, *at])


def _usual_path(environ: Mapping[str, str]) -> Path | None:
    """Return the file that is changed if none is named; None if nobody could tell."""
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    try:
        return default_token_path(environ)
    except ConfigurationError:
        return None


def _say(line: str) -> None:
    write_last(f"{line}\n")


def _read(path: Path) -> dict[str, Token]:
    content = read_token_file(path)
    if content is None:
        raise _missing(path)
    return _parse(_decoded(content), path)


def _parse(text: str, path: Path) -> dict[str, Token]:
    return parse_tokens(text, str(path))


def _token(tokens: Mapping[str, Token], name: str, path: Path) -> Token:
    if name not in tokens:
        # The name is not repeated: it may be a whole token, pasted by mistake.
        raise ConfigurationError(
            f"{path} has no token of that name, expected one of: {_command(path, 'show')}"
        )
    return tokens[name]


def _is_line_of(line: str, name: str) -> bool:
    # As `parse_tokens` sees the line; a comment's first field has the # in it, which no name has.
    return line.strip().partition(":")[0] == name


def _missing(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"token file {path} does not exist, expected one: {_command(path, 'new', 'NAME')}"
    )


def _unchangeable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"token file {path} cannot be changed: {error.strerror}")


def _decoded(content: bytes) -> str:
    # What is not UTF-8 may stand in a comment, and must come out of a change as it went in.
    return content.decode("utf-8", errors="surrogateescape")


def _change(path: Path, change: Callable[[str], str]) -> None:
    """Give a token file the content that ``change`` makes of its own; a missing one is empty."""
    # A link stays, and what it leads to is changed: users keep such files where they back them up.
    target = Path(os.path.realpath(path))
    try:
        with _locked(target) as folder:
            # Servers take no lock, but only ever make a file that is missing: then we look again.
            while not _changed(target, change):
                pass
            os.fsync(folder)
    except OSError as error:
        raise _unchangeable(path, error) from error


@contextmanager
def _locked(target: Path) -> Iterator[int]:
    """Keep other processes from changing a token file; yield its folder's descriptor."""
    # The folder and not a lock file: nothing is left behind, and nothing is root's after a sudo.
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        give_up_at = time.monotonic() + LOCK_TIMEOUT_S
        while not _takes_lock(descriptor):
            if time.monotonic() > give_up_at:
                raise ConfigurationError(
                    f"another program keeps folder {target.parent} locked, "
                    f"expected it to be done within {LOCK_TIMEOUT_S:g} s"
                )
            time.sleep(_LOCK_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _takes_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _changed(target: Path, change: Callable[[str], str]) -> bool:
    """Put the changed file in its place; False if a file has come to be there that was missing."""
    old = read_token_file(target)
    new = change(_decoded(old or b"")).encode("utf-8", errors="surrogateescape")
    if len(new) > MAX_TOKEN_FILE_BYTES:
        raise ConfigurationError(
            f"token file {target} would get too long, expected at most {MAX_TOKEN_FILE_BYTES} bytes"
        )
    # One name, not a fresh one each time: what a killed process left is found and replaced.
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        _write(temporary, new, like=None if old is None else target.stat())
        if old is None:
            os.link(temporary, target)
        else:
            os.replace(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write(temporary: Path, content: bytes, *, like: os.stat_result | None) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        if like is not None:
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            # Root may change another user's file, which that user's server must read afterwards.
            if like.st_uid != os.geteuid():
                os.fchown(descriptor, like.st_uid, like.st_gid)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=_COMMAND,
        description="Make, show and withdraw the tokens that a server accepts; make certificates.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="add a token with a fresh secret")
    new.add_argument("name", metavar="NAME", help="whose it is: 1 to 64 of A-Z a-z 0-9 . _ -")
    new.set_defaults(role=TokenRole.DEVICE)
    roles = new.add_mutually_exclusive_group()
    for role, help_text in (
        (TokenRole.OPERATOR, "not for a device: for who steers"),
        (TokenRole.VIEWER, "not for a device: for who looks at the web page, and changes nothing"),
    ):
        roles.add_argument(
            f"--{role}", dest="role", action="store_const", const=role, help=help_text
        )
    show = commands.add_parser("show", help="list the tokens, or print one with its secret")
    show.add_argument("name", metavar="NAME", nargs="?", help="print this one as name:secret")
    revoke = commands.add_parser("revoke", help="remove a token")
    revoke.add_argument("name", metavar="NAME", help="whose token")
    for command in (new, show, revoke):
        command.add_argument(
            "--token-file",
            type=Path,
            metavar="F",
            help=f"the server's token file (env {FILE_VARIABLE}; default: the user's own)",
        )
    signed = commands.add_parser("self-signed", help="make certificates for TLS, and their CA")
    signed.add_argument("folder", type=Path, metavar="DIR", help="where to; it may be new")
    signed.add_argument(
        "--host",
        action="append",
        metavar="NAME",
        help="a name or address under which devices reach the server; may be given several times "
        "(default: this machine's name, localhost, 127.0.0.1, ::1)",
    )
    return parser
