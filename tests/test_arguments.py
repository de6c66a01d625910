"""What the command lines of both programs share."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from offload.arguments import (
    Parser,
    add_common_options,
    check_writable,
    count,
    port,
    port_from,
    positive,
    report_error,
    size,
    write_summary,
)
from offload.errors import AuthError, ConfigurationError


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser(prog="program")
    add_common_options(parser)
    return parser.parse_args(arguments)


def test_wrong_usage_is_one_error_that_points_to_the_help() -> None:
    with pytest.raises(ConfigurationError, match=r"--nonsense; see --help$"):
        parse("--nonsense")


def test_the_port_comes_from_the_option_then_the_environment_then_the_default() -> None:
    assert port_from(parse("--port", "7").port, {"PORT": "9"}) == 7
    assert port_from(parse().port, {"PORT": "9"}) == 9
    assert port_from(parse().port, {"PORT": ""}) == port_from(parse().port, {}) == 8089


def test_a_wrong_port_in_the_environment_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="environment variable PORT: 'x' is not a port"):
        port_from(None, {"PORT": "x"})


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [(port, "0", 0), (port, "65535", 65535), (count, "1", 1), (positive, "0.5", 0.5)],
)
def test_numbers_in_range_are_read(read: Callable[[str], float], text: str, value: float) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((port, text) for text in ("-1", "65536", "1.5", "")),
        *((count, text) for text in ("0", "-3", "1.5", "many")),
        *((positive, text) for text in ("0", "-1", "nan", "inf", "fast")),
    ],
)
def test_numbers_out_of_range_are_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not a"):
        read(text)


def test_an_error_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(AuthError("token refused\nby the server")) == 77
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: token refused by the server\n")


def test_a_summary_goes_to_its_file_or_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_summary(str(tmp_path / "report.json"), {"fps": 1.5})
    write_summary("-", {"fps": 2.5})
    write_summary(None, {"fps": 3.5})
    assert json.loads((tmp_path / "report.json").read_text()) == {"fps": 1.5}
    assert json.loads(capsys.readouterr().out) == {"fps": 2.5}


def test_a_summary_that_cannot_be_written_is_found_out_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write --summary"):
        check_writable(str(tmp_path / "missing" / "report.json"))
    check_writable(str(tmp_path / "report.json"))
    check_writable("-")
    check_writable(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("65536", 65536),
        ("1b", 1),
        ("500kB", 500_000),
        ("2 MB", 2_000_000),
        ("64MiB", 2**26),
        ("1gib", 2**30),
    ],
)
def test_a_size_is_bytes_in_thousands_or_times_1024(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.5MiB", "1TiB", "1 0", "1k", "9" * 16])
def test_what_is_no_size_is_wrong_usage(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no size such as"):
        size(text)
