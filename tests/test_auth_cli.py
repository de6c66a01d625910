"""``python3 -m offload.auth``: tokens made, shown and withdrawn, and nothing lost or given away."""

import fcntl
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from offload.auth import (
    MAX_TOKEN_FILE_BYTES,
    default_token_path,
    load_device_token,
    load_server_tokens,
    new_token,
    parse_tokens,
)
from offload.auth.cli import add_token, main, remove_token
from offload.errors import ConfigurationError

ROOT: Final = Path(__file__).parent.parent
SECRET: Final = "correct-horse-battery-staple"
OTHER_SECRET: Final = "another-secret-of-some-length"
WAIT_S: Final = 30.0

# Adds tokens by the command's own way in, and says so as soon as each is there.
ADDING: Final = """
import sys
from offload.auth.cli import main
prefix, count, file = sys.argv[1:]
for number in range(int(count)):
    assert main(["new", f"{prefix}-{number}", "--token-file", file]) == 0
    print(f"{prefix}-{number}", flush=True)
"""

# Kills itself with SIGKILL where it would call a function of `os`.
KILLED: Final = """
import os, signal, sys
from offload.auth.cli import main
setattr(os, sys.argv[1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main(sys.argv[2:])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "tokens"


def write_tokens(file: Path, text: str, mode: int = 0o600) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    return file


def names_in(file: Path) -> list[str]:
    return list(parse_tokens(file.read_text(encoding="utf-8"), "file"))


def script(text: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail as wrong usage; return the one line that it says."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


# new


def test_new_makes_the_users_own_file_which_server_and_device_then_use() -> None:
    assert main(["new", "garden"]) == 0
    file = default_token_path(os.environ)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]
    accepted = load_server_tokens(None, os.environ)
    assert not accepted.created
    assert load_device_token(None, os.environ) == accepted.tokens["garden"]
    assert len(accepted.tokens["garden"].secret) >= 43


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_new_appends_and_leaves_what_is_there_as_it_is(role: str, file: Path) -> None:
    text = f"# ours\r\n\nfirst:{SECRET}\r\n# caf\xe9"
    write_tokens(file, "")
    file.write_bytes(text.encode("latin-1"))
    assert main(["new", "second", f"--{role}", "--token-file", str(file)]) == 0
    content = file.read_bytes()
    assert content.startswith(text.encode("latin-1") + b"\nsecond:")
    (last,) = content.decode("latin-1").splitlines(keepends=True)[-1:]
    assert re.fullmatch(rf"second:[\w-]{{43}}:{role}\n", last)


def test_a_token_has_one_role(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "second", "--operator", "--viewer", "--token-file", str(file)]) == 2
    assert "not allowed with" in capsys.readouterr().err
    assert not file.exists()


def test_new_puts_the_first_token_into_a_file_of_comments(file: Path) -> None:
    write_tokens(file, "# later\n")
    assert main(["new", "first", "--token-file", str(file)]) == 0
    assert names_in(file) == ["first"]


def test_two_tokens_have_different_secrets(file: Path) -> None:
    for name in ("a", "b"):
        main(["new", name, "--token-file", str(file)])
    tokens = parse_tokens(file.read_text(encoding="utf-8"), "file")
    assert tokens["a"].secret != tokens["b"].secret


def test_new_refuses_a_name_that_is_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tokens(file, f"garden:{SECRET}\n")
    assert "has a token named garden already" in error_of(
        capsys, "new", "garden", "--token-file", str(file)
    )
    assert file.read_text(encoding="utf-8") == f"garden:{SECRET}\n"


@pytest.mark.parametrize("name", ["", "two words", "n" * 65, "naïve", f"garden:{SECRET}", "a\nb"])
def test_new_refuses_a_bad_name_without_repeating_it_and_makes_no_file(
    name: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = error_of(capsys, "new", name, "--token-file", str(file))
    assert "bad name, expected 1 to 64 of" in said
    assert SECRET not in said
    assert not file.parent.exists()


def test_new_says_how_the_device_gets_the_token_and_the_server_is_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "garden", "--token-file", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"added garden to {file}" in said.err
    assert f"python3 -m offload.auth show garden --token-file {file} > garden.token" in said.err
    assert "chmod 600 garden.token" in said.err
    assert "kill -HUP PID (pgrep -af cloud.server shows it)" in said.err


def test_what_new_says_to_type_makes_a_file_that_a_device_takes(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new", "garden", "--token-file", str(file)])
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "show garden" in each]
    command = line.partition(": ")[2].replace("python3", sys.executable)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environ, check=True)
    token = load_device_token(tmp_path / "garden.token", {})
    assert token == load_server_tokens(file, {}).tokens["garden"]


def test_a_file_that_would_get_too_long_for_a_server_is_left_alone(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"a:{SECRET}\n"
    text += "#" * (MAX_TOKEN_FILE_BYTES - len(text))
    write_tokens(file, text)
    assert "would get too long" in error_of(capsys, "new", "b", "--token-file", str(file))
    assert file.read_text(encoding="utf-8") == text


# show


def test_show_lists_names_and_roles_and_says_which_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(file, f"ops.main:{SECRET}:operator\nrover:{OTHER_SECRET}\n")
    assert main(["show", "--token-file", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == "name      role\nops.main  operator\nrover     device\n"
    assert said.err == f"tokens in {file}:\n"


def test_show_of_a_name_writes_its_line_and_nothing_else(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(file, f"# ours\n  ops:{SECRET}:operator \nrover:{OTHER_SECRET}\n")
    assert main(["show", "ops", "--token-file", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == f"ops:{SECRET}:operator\n"
    assert said.err == ""


@pytest.mark.parametrize("command", ["show", "revoke"])
def test_an_unknown_name_is_refused_without_repeating_it(
    command: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(file, f"rover:{OTHER_SECRET}\nspare:{OTHER_SECRET}\n")
    said = error_of(capsys, command, f"rover:{SECRET}", "--token-file", str(file))
    assert "has no token of that name" in said
    assert SECRET not in said


@pytest.mark.parametrize("command", [["show"], ["show", "rover"], ["revoke", "rover"]])
def test_a_missing_file_is_named_and_not_made(
    command: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "does not exist" in error_of(capsys, *command, "--token-file", str(file))
    assert not file.parent.exists()


def test_output_that_cannot_be_written_is_an_error_in_one_line(file: Path) -> None:
    write_tokens(file, f"rover:{SECRET}\n")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "offload.auth", "show", "rover", "--token-file", str(file)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == "error: standard output cannot be written: No space left on device\n"


# revoke


def test_revoke_removes_one_line_and_leaves_all_others_as_they_are(file: Path) -> None:
    before, after = "# rover:is:below\r\n\n rover2:" + SECRET, f"#rover:{SECRET}\nops:{SECRET}"
    write_tokens(file, f"{before}\n  rover:{OTHER_SECRET}:operator\r\n{after}")
    assert main(["revoke", "rover", "--token-file", str(file)]) == 0
    assert file.read_bytes() == f"{before}\n{after}".encode()


def test_revoke_says_that_a_running_server_must_be_told(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(file, f"rover:{SECRET}\nspare:{OTHER_SECRET}\n")
    assert main(["revoke", "rover", "--token-file", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"removed rover from {file}" in said.err
    assert "kill -HUP PID (pgrep -af cloud.server shows it)" in said.err


def test_the_only_token_stays_because_no_server_takes_a_file_without(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"# ours\nrover:{SECRET}\n"
    write_tokens(file, text)
    said = error_of(capsys, "revoke", "rover", "--token-file", str(file))
    assert "rover is the only token" in said
    assert f"first add another: python3 -m offload.auth new NAME --token-file {file}" in said
    assert file.read_text(encoding="utf-8") == text


def test_a_server_that_reloads_knows_new_tokens_and_no_withdrawn_ones(file: Path) -> None:
    write_tokens(file, f"old:{SECRET}\n")
    accepted = load_server_tokens(file, {})
    main(["new", "fresh", "--token-file", str(file)])
    main(["revoke", "old", "--token-file", str(file)])
    assert list(accepted.reloaded().tokens) == ["fresh"]


# Which file


def test_what_a_hint_says_to_type_is_for_the_file_that_was_named(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--token-file", str(file))
    missing = error_of(capsys, "show", *at)
    assert main(["new", "rover", *at]) == 0
    hints = [missing, capsys.readouterr().err]
    for command in (("new", "rover"), ("revoke", "rover"), ("show", "other")):
        hints.append(error_of(capsys, *command, *at))
    for said in hints:
        assert f"--token-file {file}" in said
    # What is meant anyway is not repeated, and a home that nobody knows ends no command.
    monkeypatch.setenv("OFFLOAD_TOKEN_FILE", str(file))
    assert "python3 -m offload.auth revoke rover\n" in error_of(capsys, "new", "rover")
    monkeypatch.delenv("OFFLOAD_TOKEN_FILE")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr(Path, "home", no_home)
    assert f"revoke rover --token-file {file}" in error_of(capsys, "new", "rover", *at)


def no_home() -> Path:
    raise RuntimeError("no home folder")


def test_the_option_goes_before_the_variable_before_the_users_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = default_token_path(os.environ)
    assert main(["new", "own"]) == 0
    monkeypatch.setenv("OFFLOAD_TOKEN_FILE", str(tmp_path / "variable"))
    assert main(["new", "variable"]) == 0
    assert main(["new", "option", "--token-file", str(tmp_path / "option")]) == 0
    for file, name in ((own, "own"), (tmp_path / "variable", "variable")):
        assert names_in(file) == [name]
    assert names_in(tmp_path / "option") == ["option"]


def test_who_keeps_a_token_in_a_variable_is_told_that_it_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OFFLOAD_TOKEN", f"rover:{SECRET}")
    assert main(["new", "garden"]) == 0
    said = capsys.readouterr().err
    assert "note: programs with the variable OFFLOAD_TOKEN" in said
    assert SECRET not in said
    assert names_in(default_token_path(os.environ)) == ["garden"]


# What the file may be


@pytest.mark.parametrize("command", [["new", "b"], ["show"], ["show", "a"], ["revoke", "a"]])
@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        (f"a:{SECRET}\nb\n", 0o600, "line 2: no colon"),
        (f"a:{SECRET}\na:{SECRET}\n", 0o600, "line 2: a second token of that name"),
        (f"a:{SECRET}\nc:{SECRET}\n", 0o644, "chmod 600"),
        ("#" * (MAX_TOKEN_FILE_BYTES + 1), 0o600, "too long"),
    ],
)
def test_a_file_that_no_server_takes_is_refused_and_left_alone(
    command: list[str],
    text: str,
    mode: int,
    problem: str,
    file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tokens(file, text, mode)
    said = error_of(capsys, *command, "--token-file", str(file))
    assert problem in said
    assert SECRET not in said
    assert file.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_change_keeps_the_mode(file: Path, mode: int) -> None:
    write_tokens(file, f"a:{SECRET}\n", mode)
    assert main(["new", "b", "--token-file", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == mode


@pytest.mark.root
def test_a_change_by_root_leaves_the_file_to_its_owner(file: Path) -> None:
    write_tokens(file, f"a:{SECRET}\n")
    os.chown(file, 1234, 5678)
    assert main(["new", "b", "--token-file", str(file)]) == 0
    status = file.stat()
    assert (status.st_uid, status.st_gid) == (1234, 5678)
    assert stat.S_IMODE(status.st_mode) == 0o600


@pytest.mark.parametrize("text", [None, f"a:{SECRET}\n"])
def test_a_link_stays_and_what_it_leads_to_is_changed(
    text: str | None, file: Path, tmp_path: Path
) -> None:
    file.parent.mkdir()
    if text is not None:
        write_tokens(file, text)
    link = tmp_path / "link"
    link.symlink_to(Path("folder") / "tokens")
    assert main(["new", "b", "--token-file", str(link)]) == 0
    assert link.is_symlink()
    assert names_in(file)[-1] == "b"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("obstacle/tokens", "Not a directory"),
        ("obstacle/below/tokens", "Not a directory"),
        ("a-folder", "Is a directory"),
        ("loop", "levels of"),
    ],
)
def test_a_file_that_cannot_be_made_is_said_in_one_line(
    named: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "obstacle").touch()
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert problem in error_of(capsys, "new", "a", "--token-file", str(tmp_path / named))


# Many at a time, and sudden ends


def test_two_processes_that_add_tokens_at_the_same_time_lose_none(file: Path) -> None:
    file.parent.mkdir()
    running = [script(ADDING, prefix, "50", str(file)) for prefix in ("a", "b")]
    for each in running:
        _, err = each.communicate(timeout=WAIT_S)
        assert each.returncode == 0, err
    wanted = {f"{prefix}-{number}" for prefix in ("a", "b") for number in range(50)}
    assert set(names_in(file)) == wanted
    assert list(file.parent.iterdir()) == [file]


def test_adding_and_removing_at_the_same_time_do_both(file: Path) -> None:
    write_tokens(file, "".join(f"old-{number}:{SECRET}\n" for number in range(20)))

    def change(number: int) -> None:
        add_token(file, new_token(f"new-{number}"))
        remove_token(file, f"old-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(20)))
    assert set(names_in(file)) == {f"new-{number}" for number in range(20)}


def test_a_server_that_starts_meanwhile_keeps_the_token_that_it_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, file = os.link, default_token_path(os.environ)

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        assert load_server_tokens(None, os.environ).created
        link(source, target)

    monkeypatch.setattr(os, "link", overtaken)
    assert main(["new", "garden"]) == 0
    assert names_in(file) == ["default", "garden"]
    assert list(file.parent.iterdir()) == [file]


def test_a_change_waits_for_the_one_before(file: Path) -> None:
    write_tokens(file, f"a:{SECRET}\n")
    with ThreadPoolExecutor(1) as pool:
        folder = os.open(file.parent, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        started = threading.Event()

        def add() -> None:
            started.set()
            add_token(file, new_token("b"))

        added = pool.submit(add)
        started.wait(WAIT_S)
        with pytest.raises(TimeoutError):
            added.result(0.1)
        assert names_in(file) == ["a"]
        os.close(folder)
        added.result(WAIT_S)
    assert names_in(file) == ["a", "b"]


def test_a_lock_that_nobody_gives_back_is_an_error_and_no_endless_wait(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(file, f"a:{SECRET}\n")
    monkeypatch.setattr("offload.auth.cli.LOCK_TIMEOUT_S", 0.1)
    folder = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(ConfigurationError, match=r"another program keeps folder .* locked"):
        add_token(file, new_token("b"))
    os.close(folder)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize("command", [["new", "c"], ["revoke", "a"]])
def test_a_kill_before_the_file_is_replaced_leaves_the_old_one_and_the_next_change_works(
    moment: str, command: list[str], file: Path
) -> None:
    text = f"a:{SECRET}\nb:{OTHER_SECRET}\n"
    write_tokens(file, text)
    killed = script(KILLED, moment, *command, "--token-file", str(file))
    killed.communicate(timeout=WAIT_S)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_text(encoding="utf-8") == text
    (left,) = set(file.parent.iterdir()) - {file}
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    assert main([*command, "--token-file", str(file)]) == 0
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_a_kill_before_the_first_file_is_made_leaves_none_and_the_next_change_works(
    moment: str, file: Path
) -> None:
    killed = script(KILLED, moment, "new", "a", "--token-file", str(file))
    killed.communicate(timeout=WAIT_S)
    assert killed.returncode == -signal.SIGKILL
    assert not file.exists()
    assert main(["new", "a", "--token-file", str(file)]) == 0
    assert list(file.parent.iterdir()) == [file]


def test_a_kill_at_any_moment_leaves_all_tokens_that_were_said_to_be_there(file: Path) -> None:
    said: list[str] = []
    for attempt in range(5):
        adding = script(ADDING, f"run{attempt}", "100000", str(file))
        assert adding.stdout is not None
        said += [adding.stdout.readline().strip() for _ in range(3 * attempt + 1)]
        adding.kill()
        rest, _ = adding.communicate(timeout=WAIT_S)
        # The kill may cut the last line that is said, too.
        said += [line.strip() for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        assert set(said) <= set(names_in(file))
    assert len(names_in(file)) <= len(said) + 5


# Who sees a secret


def test_without_a_terminal_no_command_but_show_name_shows_a_secret(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--token-file", str(file))
    for command in (
        ["new", "a"],
        ["new", "b", "--operator"],
        ["show"],
        ["new", "a"],
        ["show", "x"],
    ):
        main([*command, *at])
    secrets = [token.secret.decode() for token in load_server_tokens(file, {}).tokens.values()]
    main(["revoke", "b", *at])
    main(["revoke", "a", *at])
    said = capsys.readouterr()
    assert len(secrets) == 2
    for secret in secrets:
        assert secret not in said.out + said.err


def test_on_a_terminal_new_shows_how_to_give_the_token_in_a_variable(file: Path) -> None:
    terminal, its_end = pty.openpty()
    command = ["-m", "offload.auth", "new", "garden", "--token-file", str(file)]
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=its_end
    ) as running:
        os.close(its_end)
        out, _ = running.communicate(timeout=WAIT_S)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert running.returncode == 0
    assert out == b""
    line = load_server_tokens(file, {}).tokens["garden"].line()
    assert f"export OFFLOAD_TOKEN={line}" in shown


# self-signed

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the openssl command"
)


@needs_openssl
def test_self_signed_makes_certificates_and_says_how_both_ends_take_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my certificates"
    assert main(["self-signed", str(folder), "--host", "cloud.example", "--host", "::1"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "cloud.example, ::1" in said.err
    assert f"--tls-cert '{folder}/server.pem' --tls-key '{folder}/server.key'" in said.err
    assert "--tls --tls-ca ca.pem" in said.err
    assert f"--tls-client-ca '{folder}/ca.pem'" in said.err
    assert "--tls-cert device.pem --tls-key device.key" in said.err
    assert {"ca.pem", "server.key", "device.key"} <= {each.name for each in folder.iterdir()}


@needs_openssl
def test_self_signed_takes_this_machines_names_unless_told_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["self-signed", str(tmp_path / "certificates")]) == 0
    assert "localhost, 127.0.0.1, ::1" in capsys.readouterr().err


def test_self_signed_replaces_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "server.key").write_text("mine", encoding="utf-8")
    assert "server.key exists already" in error_of(capsys, "self-signed", str(tmp_path))
    assert [each.name for each in tmp_path.iterdir()] == ["server.key"]


# Wrong usage


@pytest.mark.parametrize(
    "arguments", [[], ["make"], ["new"], ["revoke"], ["new", "a", "b"], ["self-signed"]]
)
def test_wrong_usage_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "see --help" in error_of(capsys, *arguments)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out
