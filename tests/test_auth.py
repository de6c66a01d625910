"""Tokens: the files they live in, the variables that name them, and the proofs made with them."""

import pwd
import secrets
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.auth import (
    MAX_SECRET_CHARACTERS,
    MAX_TOKEN_FILE_BYTES,
    MIN_SECRET_CHARACTERS,
    NONCE_BYTES,
    Role,
    ServerTokens,
    Token,
    TokenRole,
    default_token_path,
    load_device_token,
    load_operator_token,
    load_server_tokens,
    new_nonce,
    new_token,
    parse_tokens,
    prove,
    proves,
)
from offload.errors import AuthError, ConfigurationError

SECRET = "correct-horse-battery-staple"
OTHER_SECRET = "another-secret-of-some-length"
DEVICE_NONCE = bytes(range(NONCE_BYTES))
SERVER_NONCE = bytes(range(100, 100 + NONCE_BYTES))


def write_tokens(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path / "home")}


@pytest.fixture
def default_file(environ: dict[str, str]) -> Path:
    return default_token_path(environ)


# The lines of a token file


def test_lines_give_tokens_by_name_in_their_order() -> None:
    text = f"# our tokens\n\nrover-2:{SECRET}\r\n  ops.main:{OTHER_SECRET}:operator  \n"
    text += f"guest:{SECRET}:viewer\n"
    assert list(parse_tokens(text, "tokens").items()) == [
        ("rover-2", Token(name="rover-2", secret=SECRET.encode())),
        ("ops.main", Token(name="ops.main", secret=OTHER_SECRET.encode(), role=TokenRole.OPERATOR)),
        ("guest", Token(name="guest", secret=SECRET.encode(), role=TokenRole.VIEWER)),
    ]


def test_a_text_without_tokens_gives_none() -> None:
    assert parse_tokens("# nothing yet\n\n", "tokens") == {}


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f":{SECRET}",
        f"two words:{SECRET}",
        f"{'n' * 65}:{SECRET}",
        f"naïve:{SECRET}",
        "rover:" + SECRET[: MIN_SECRET_CHARACTERS - 1],
        "rover:" + "s" * (MAX_SECRET_CHARACTERS + 1),
        f"rover:{SECRET} {SECRET}",
        f"rover:{SECRET}é",
        f"rover:{SECRET}:",
        f"rover:{SECRET}:Operator",
        f"rover:{SECRET}:operator:",
        f"rover:operator:{SECRET}",
        f"first:{OTHER_SECRET}",
    ],
)
def test_a_bad_line_is_refused_by_file_and_number_without_its_content(line: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_tokens(f"# ours\nfirst:{OTHER_SECRET}\n{line}\n", "/etc/tokens")
    message = str(refusal.value)
    assert message.startswith("/etc/tokens, line 3: ")
    assert SECRET[:8] not in message
    assert OTHER_SECRET not in message
    assert "ssss" not in message


@pytest.mark.parametrize("length", [MIN_SECRET_CHARACTERS, MAX_SECRET_CHARACTERS])
def test_a_secret_at_either_limit_is_taken(length: int) -> None:
    assert parse_tokens(f"rover:{'s' * length}", "tokens")["rover"].secret == b"s" * length


@given(text=st.text())
def test_any_text_gives_tokens_or_a_configuration_error(text: str) -> None:
    try:
        tokens = parse_tokens(text, "tokens")
    except ConfigurationError:
        return
    assert all(name == token.name for name, token in tokens.items())


@given(
    text=st.from_regex(
        r"[A-Za-z0-9._-]{1,64}:[!-9;-~]{16,256}(:(operator|viewer))?", fullmatch=True
    )
)
def test_a_token_writes_the_line_that_it_was_read_from(text: str) -> None:
    (token,) = parse_tokens(text, "tokens").values()
    assert token.line() == text


def test_repr_shows_the_name_and_hides_the_secret() -> None:
    token = Token(name="rover", secret=SECRET.encode())
    tokens = ServerTokens(tokens={"rover": token}, path=None, created=False)
    for shown in (repr(token), str(token), repr(tokens)):
        assert "rover" in shown
        assert SECRET not in shown


def test_a_server_has_no_secret_for_an_unknown_name() -> None:
    token = Token(name="rover", secret=SECRET.encode())
    tokens = ServerTokens(tokens={"rover": token}, path=None, created=False)
    assert tokens.secret_for("rover") == SECRET.encode()
    assert tokens.secret_for("Rover") is None


# Where the user's own file is


def test_the_default_file_is_in_the_configuration_folder() -> None:
    environ = {"XDG_CONFIG_HOME": "/settings", "HOME": "/home/ann"}
    assert default_token_path(environ) == Path("/settings/task-offload/tokens")


@pytest.mark.parametrize("folder", [{}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}])
def test_without_a_usable_configuration_folder_it_is_in_the_home_folder(
    folder: dict[str, str],
) -> None:
    environ = {"HOME": "/home/ann", **folder}
    assert default_token_path(environ) == Path("/home/ann/.config/task-offload/tokens")


def test_a_user_without_any_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(user: int) -> None:
        raise KeyError(f"uid not found: {user}")

    monkeypatch.delenv("HOME", raising=False)
    assert default_token_path({}).is_absolute()
    # As in a container that runs as a number without a name.
    monkeypatch.setattr(pwd, "getpwuid", no_entry)
    with pytest.raises(ConfigurationError, match="no home folder for a token file"):
        default_token_path({})


# The server


def test_a_server_makes_its_first_token_in_a_file_of_its_owner_alone(
    environ: dict[str, str], default_file: Path
) -> None:
    made = load_server_tokens(None, environ)
    assert made.created
    assert made.path == default_file
    assert list(made.tokens) == ["default"]
    assert made.tokens["default"].role is TokenRole.DEVICE
    assert len(made.tokens["default"].secret) >= 43
    assert stat.S_IMODE(default_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(default_file.parent.stat().st_mode) == 0o700
    assert list(default_file.parent.iterdir()) == [default_file]


def test_the_first_token_is_kept_at_the_next_start(environ: dict[str, str]) -> None:
    made = load_server_tokens(None, environ)
    found = load_server_tokens(None, environ)
    assert not found.created
    assert found.path == made.path
    assert found.tokens == made.tokens


def test_a_server_that_finds_a_token_makes_none_so_its_folder_may_be_read_only(
    environ: dict[str, str], default_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(size_bytes: int) -> str:
        pytest.fail(f"a token of {size_bytes} bytes was made")

    write_tokens(default_file, f"mine:{SECRET}\n")
    monkeypatch.setattr(secrets, "token_urlsafe", made)
    assert list(load_server_tokens(None, environ).tokens) == ["mine"]


def test_two_users_get_different_secrets(tmp_path: Path) -> None:
    ann = load_server_tokens(None, {"XDG_CONFIG_HOME": str(tmp_path / "ann")})
    bob = load_server_tokens(None, {"XDG_CONFIG_HOME": str(tmp_path / "bob")})
    assert ann.secret_for("default") != bob.secret_for("default")


def test_of_servers_that_start_at_once_one_makes_the_file_and_all_use_it(tmp_path: Path) -> None:
    servers = 8
    with ThreadPoolExecutor(servers) as pool:
        for attempt in range(20):
            environ = {"XDG_CONFIG_HOME": str(tmp_path / str(attempt))}
            barrier = threading.Barrier(servers)

            def start(
                _: int, environ: dict[str, str] = environ, barrier: threading.Barrier = barrier
            ) -> ServerTokens:
                barrier.wait()
                return load_server_tokens(None, environ)

            started = list(pool.map(start, range(servers)))
            assert sum(server.created for server in started) == 1
            assert len({server.secret_for("default") for server in started}) == 1
            assert len(list(default_token_path(environ).parent.iterdir())) == 1


def test_a_server_overtaken_while_it_makes_its_token_uses_the_file_that_is_there(
    environ: dict[str, str], default_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(size_bytes: int) -> str:
        write_tokens(default_file, f"default:{OTHER_SECRET}\n")
        return "s" * size_bytes

    monkeypatch.setattr(secrets, "token_urlsafe", overtaken)
    found = load_server_tokens(None, environ)
    assert not found.created
    assert found.secret_for("default") == OTHER_SECRET.encode()
    assert list(default_file.parent.iterdir()) == [default_file]


def test_a_default_file_that_cannot_be_made_is_said_with_what_else_to_do(tmp_path: Path) -> None:
    obstacle = tmp_path / "config"
    obstacle.mkdir()
    (obstacle / "task-offload").symlink_to(tmp_path / "nowhere" / "at-all")
    with pytest.raises(ConfigurationError, match=r"cannot be made: .*OFFLOAD_TOKEN_FILE"):
        load_server_tokens(None, {"XDG_CONFIG_HOME": str(obstacle)})


def test_a_server_takes_all_tokens_of_its_file(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_tokens(tmp_path / "tokens", f"a:{SECRET}\nb:{OTHER_SECRET}:operator\n")
    loaded = load_server_tokens(file, environ)
    assert list(loaded.tokens) == ["a", "b"]
    assert loaded.path == file
    assert not loaded.created


def test_a_token_in_a_variable_has_no_file_and_makes_none(
    environ: dict[str, str], default_file: Path
) -> None:
    loaded = load_server_tokens(None, {**environ, "OFFLOAD_TOKEN": f"rover:{SECRET}"})
    assert loaded.secret_for("rover") == SECRET.encode()
    assert loaded.path is None
    assert not loaded.created
    assert not default_file.exists()


# The operator


def test_an_operator_shows_the_first_operators_token(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    lines = f"a:{SECRET}\nb:{OTHER_SECRET}:operator\nc:{SECRET}:operator\n"
    file = write_tokens(tmp_path / "tokens", lines)
    assert load_operator_token(file, environ).name == "b"
    named = {**environ, "OFFLOAD_TOKEN_FILE": str(file)}
    assert load_operator_token(None, named).name == "b"
    given = {**environ, "OFFLOAD_TOKEN": f"d:{SECRET}:operator"}
    assert load_operator_token(None, given).role is TokenRole.OPERATOR


@pytest.mark.parametrize("has_file", [True, False])
def test_who_has_no_operators_token_is_told_how_to_make_one(
    has_file: bool, environ: dict[str, str], default_file: Path
) -> None:
    if has_file:
        load_server_tokens(None, environ)
    with pytest.raises(
        AuthError, match=r"^no operator's token: .* offload.auth new NAME --operator"
    ):
        load_operator_token(None, environ)
    assert default_file.exists() == has_file


def test_a_server_knows_what_each_token_is_for(tmp_path: Path, environ: dict[str, str]) -> None:
    lines = f"a:{SECRET}\nb:{OTHER_SECRET}:operator\nc:{SECRET}:viewer\n"
    file = write_tokens(tmp_path / "tokens", lines)
    loaded = load_server_tokens(file, environ)
    roles = [loaded.role_of(name) for name in ("a", "b", "c", "d")]
    assert roles == [TokenRole.DEVICE, TokenRole.OPERATOR, TokenRole.VIEWER, None]


# The server, told to read its tokens again


def test_a_server_that_reloads_has_the_tokens_that_its_file_has_now(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_tokens(tmp_path / "tokens", f"a:{SECRET}\nb:{SECRET}\n")
    loaded = load_server_tokens(file, environ)
    write_tokens(file, f"b:{OTHER_SECRET}\nc:{SECRET}:operator\n")
    again = loaded.reloaded()
    assert again == load_server_tokens(file, environ)
    assert again.secret_for("a") is None
    assert again.secret_for("b") == OTHER_SECRET.encode()


def test_a_reload_does_not_say_again_that_the_file_was_made(environ: dict[str, str]) -> None:
    made = load_server_tokens(None, environ)
    assert made.reloaded() == ServerTokens(tokens=made.tokens, path=made.path, created=False)


def test_a_reload_from_a_variable_or_from_nowhere_changes_nothing(environ: dict[str, str]) -> None:
    loaded = load_server_tokens(None, {**environ, "OFFLOAD_TOKEN": f"rover:{SECRET}"})
    assert loaded.reloaded() == loaded
    without = ServerTokens(tokens={}, path=None, created=False)
    assert without.reloaded() == without


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        (f"a:{OTHER_SECRET}\nbad\n", 0o600, "line 2"),
        ("# all withdrawn\n", 0o600, "holds no token"),
        (f"a:{OTHER_SECRET}\n", 0o644, "chmod 600"),
    ],
)
def test_a_reload_of_a_bad_file_is_refused_and_the_old_tokens_are_as_they_were(
    text: str, mode: int, problem: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_tokens(tmp_path / "tokens", f"a:{SECRET}\n")
    loaded = load_server_tokens(file, environ)
    write_tokens(file, text, mode)
    with pytest.raises(ConfigurationError, match=problem) as refusal:
        loaded.reloaded()
    assert OTHER_SECRET not in str(refusal.value)
    assert loaded.secret_for("a") == SECRET.encode()


def test_a_reload_of_a_file_that_is_gone_is_refused_and_makes_none(environ: dict[str, str]) -> None:
    loaded = load_server_tokens(None, environ)
    assert loaded.path is not None
    loaded.path.unlink()
    with pytest.raises(ConfigurationError, match="does not exist"):
        loaded.reloaded()
    assert not loaded.path.exists()


# A new token


@pytest.mark.parametrize("role", TokenRole)
def test_a_new_token_is_one_that_a_file_may_hold(role: TokenRole) -> None:
    token = new_token("n" * 64, role=role)
    assert parse_tokens(token.line(), "tokens") == {token.name: token}
    assert token.role is role
    assert token.secret != new_token("n" * 64).secret


@pytest.mark.parametrize("name", ["", "n" * 65, "two words", "a:b", "naïve", "a\n"])
def test_a_new_token_with_a_name_that_no_file_may_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="bad name, expected 1 to 64"):
        new_token(name)


# Both ends


def server_names(path: Path | None, environ: dict[str, str]) -> list[str]:
    return list(load_server_tokens(path, environ).tokens)


def device_names(path: Path | None, environ: dict[str, str]) -> list[str]:
    token = load_device_token(path, environ)
    return [] if token is None else [token.name]


Names = Callable[[Path | None, dict[str, str]], list[str]]

both_ends = pytest.mark.parametrize("names", [server_names, device_names])


@both_ends
def test_argument_goes_before_file_variable_before_token_variable_before_default(
    names: Names, tmp_path: Path, environ: dict[str, str], default_file: Path
) -> None:
    write_tokens(default_file, f"default:{SECRET}\n")
    argument = write_tokens(tmp_path / "argument", f"argument:{SECRET}\n")
    variable = write_tokens(tmp_path / "variable", f"file-variable:{SECRET}\n")
    token = {**environ, "OFFLOAD_TOKEN": f"token-variable:{SECRET}"}
    both = {**token, "OFFLOAD_TOKEN_FILE": str(variable)}
    assert names(argument, both) == ["argument"]
    assert names(None, both) == ["file-variable"]
    assert names(None, token) == ["token-variable"]
    assert names(None, environ) == ["default"]


@both_ends
def test_an_empty_variable_counts_as_unset(
    names: Names, environ: dict[str, str], default_file: Path
) -> None:
    write_tokens(default_file, f"default:{SECRET}\n")
    empty = {**environ, "OFFLOAD_TOKEN": "", "OFFLOAD_TOKEN_FILE": ""}
    assert names(None, empty) == ["default"]


@both_ends
def test_a_named_file_must_exist_and_is_not_made(
    names: Names, tmp_path: Path, environ: dict[str, str], default_file: Path
) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigurationError, match="missing does not exist"):
        names(missing, environ)
    with pytest.raises(ConfigurationError, match="missing does not exist"):
        names(None, {**environ, "OFFLOAD_TOKEN_FILE": str(missing)})
    assert not missing.exists()
    assert not default_file.exists()


@both_ends
def test_a_file_that_cannot_be_read_is_a_configuration_error(
    names: Names, tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        names(tmp_path, environ)


@both_ends
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_named_file_open_to_other_users_is_refused_with_the_cure(
    names: Names, mode: int, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_tokens(tmp_path / "my tokens", f"rover:{SECRET}\n", mode)
    with pytest.raises(ConfigurationError) as refusal:
        names(file, environ)
    assert f"chmod 600 '{file}'" in str(refusal.value)
    assert f"mode {mode:04o}" in str(refusal.value)
    assert SECRET not in str(refusal.value)


@both_ends
def test_a_default_file_open_to_other_users_is_refused_with_the_cure(
    names: Names, environ: dict[str, str], default_file: Path
) -> None:
    write_tokens(default_file, f"default:{SECRET}\n", 0o644)
    with pytest.raises(ConfigurationError, match=f"chmod 600 {default_file}"):
        names(None, environ)


@both_ends
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_file_of_its_owner_alone_is_read(
    names: Names, mode: int, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_tokens(tmp_path / "tokens", f"rover:{SECRET}\n", mode)
    assert names(file, environ) == ["rover"]


@both_ends
def test_a_file_without_tokens_is_refused(
    names: Names, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_tokens(tmp_path / "tokens", "# later\n")
    with pytest.raises(ConfigurationError, match="tokens holds no token"):
        names(file, environ)


@both_ends
def test_a_file_past_the_limit_is_refused(
    names: Names, tmp_path: Path, environ: dict[str, str]
) -> None:
    line = f"rover:{SECRET}\n"
    file = write_tokens(tmp_path / "tokens", line + "#" * (MAX_TOKEN_FILE_BYTES - len(line)))
    assert names(file, environ) == ["rover"]
    write_tokens(file, line + "#" * (MAX_TOKEN_FILE_BYTES + 1 - len(line)))
    with pytest.raises(ConfigurationError, match="too long"):
        names(file, environ)


@both_ends
def test_a_file_that_is_not_text_is_refused_by_line_without_its_content(
    names: Names, tmp_path: Path, environ: dict[str, str]
) -> None:
    file = tmp_path / "tokens"
    file.touch(mode=0o600)
    file.write_bytes(b"# caf\xe9\nrover:" + SECRET.encode() + b"\xff\n")
    with pytest.raises(ConfigurationError, match="tokens, line 2: bad secret") as refusal:
        names(file, environ)
    assert SECRET not in str(refusal.value)


@both_ends
def test_a_bad_token_in_a_variable_is_refused_without_its_content(
    names: Names, environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="OFFLOAD_TOKEN, line 1: no colon") as refusal:
        names(None, {**environ, "OFFLOAD_TOKEN": SECRET})
    assert SECRET not in str(refusal.value)


# The device


def test_a_device_finds_the_token_that_a_server_of_its_user_made(environ: dict[str, str]) -> None:
    made = load_server_tokens(None, environ)
    assert load_device_token(None, environ) == made.tokens["default"]


def test_a_device_to_which_nobody_gave_a_token_has_none_and_makes_none(
    environ: dict[str, str], default_file: Path
) -> None:
    assert load_device_token(None, environ) is None
    assert not default_file.exists()


def test_a_device_takes_the_first_token_that_is_a_devices(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    text = f"ops:{SECRET}:operator\nlook:{SECRET}:viewer\nrover:{OTHER_SECRET}\nspare:{SECRET}\n"
    file = write_tokens(tmp_path / "tokens", text)
    token = load_device_token(file, environ)
    assert token == Token(name="rover", secret=OTHER_SECRET.encode())


@pytest.mark.parametrize("given", ["argument", "variable", "default"])
@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_a_device_given_no_device_token_does_not_go_on_without(
    given: str, role: str, environ: dict[str, str], default_file: Path
) -> None:
    line = f"ops:{SECRET}:{role}"
    if given == "variable":
        environ = {**environ, "OFFLOAD_TOKEN": line}
    else:
        write_tokens(default_file, line)
    with pytest.raises(ConfigurationError, match="holds no token for a device") as refusal:
        load_device_token(default_file if given == "argument" else None, environ)
    assert SECRET not in str(refusal.value)


# The proofs


def test_each_end_proves_itself_to_the_other() -> None:
    device_nonce, server_nonce = new_nonce(), new_nonce()
    for role in Role:
        proof = prove(SECRET.encode(), role, device_nonce, server_nonce)
        assert proves(SECRET.encode(), role, device_nonce, server_nonce, proof)


def test_the_proofs_of_known_nonces_are_these_bytes() -> None:
    device = prove(SECRET.encode(), Role.DEVICE, DEVICE_NONCE, SERVER_NONCE)
    server = prove(SECRET.encode(), Role.SERVER, DEVICE_NONCE, SERVER_NONCE)
    assert device.hex() == "7fa32560fe44f7aa36aa9cc05b6d3c0401b8273ca8036fd698312bb69f13b3f6"
    assert server.hex() == "6f376876d12317d28f43ca37fd05004a32d9667fa928cb36a882e14af24fa07a"


def test_nonces_are_fresh_and_of_full_length() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {NONCE_BYTES}


@pytest.mark.parametrize(
    ("role", "other"), [(Role.DEVICE, Role.SERVER), (Role.SERVER, Role.DEVICE)]
)
def test_a_proof_sent_back_is_not_the_other_ends_proof(role: Role, other: Role) -> None:
    proof = prove(SECRET.encode(), role, DEVICE_NONCE, SERVER_NONCE)
    assert not proves(SECRET.encode(), other, DEVICE_NONCE, SERVER_NONCE, proof)
    assert not proves(SECRET.encode(), other, SERVER_NONCE, DEVICE_NONCE, proof)
    same_nonce = prove(SECRET.encode(), role, DEVICE_NONCE, DEVICE_NONCE)
    assert not proves(SECRET.encode(), other, DEVICE_NONCE, DEVICE_NONCE, same_nonce)


def test_a_proof_is_not_good_with_the_nonces_exchanged() -> None:
    proof = prove(SECRET.encode(), Role.DEVICE, DEVICE_NONCE, SERVER_NONCE)
    assert not proves(SECRET.encode(), Role.DEVICE, SERVER_NONCE, DEVICE_NONCE, proof)


@given(part=st.integers(0, 3), bit=st.integers(0, 8 * 32 - 1))
def test_any_changed_bit_is_refused(part: int, bit: int) -> None:
    secret = SECRET.encode().ljust(32, b"+")
    parts = [secret, DEVICE_NONCE, SERVER_NONCE]
    parts.append(prove(secret, Role.DEVICE, DEVICE_NONCE, SERVER_NONCE))
    changed = bytearray(parts[part])
    changed[bit // 8] ^= 1 << bit % 8
    parts[part] = bytes(changed)
    secret, device_nonce, server_nonce, proof = parts
    assert not proves(secret, Role.DEVICE, device_nonce, server_nonce, proof)


@given(proof=st.binary(max_size=64))
def test_no_made_up_proof_of_any_length_is_taken(proof: bytes) -> None:
    assert not proves(SECRET.encode(), Role.SERVER, DEVICE_NONCE, SERVER_NONCE, proof)


def test_a_proof_cut_or_continued_is_refused() -> None:
    proof = prove(SECRET.encode(), Role.SERVER, DEVICE_NONCE, SERVER_NONCE)
    for wrong in (b"", proof[:-1], proof + b"\0", proof + proof):
        assert not proves(SECRET.encode(), Role.SERVER, DEVICE_NONCE, SERVER_NONCE, wrong)


@pytest.mark.parametrize("length", [0, NONCE_BYTES - 1, NONCE_BYTES + 1])
def test_a_nonce_of_a_wrong_length_proves_nothing(length: int) -> None:
    wrong, proof = bytes(length), bytes(32)
    for nonces in ((wrong, SERVER_NONCE), (DEVICE_NONCE, wrong)):
        assert not proves(SECRET.encode(), Role.DEVICE, *nonces, proof)
        with pytest.raises(ValueError, match=f"nonce is {length} bytes, expected 32"):
            prove(SECRET.encode(), Role.DEVICE, *nonces)
