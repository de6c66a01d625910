"""The device's command line: what is read, and what is refused before anything is opened."""

from pathlib import Path

import pytest

from offload.device.encoding_choice import EncodingMode
from offload.device.options import DEFAULT_SPOOL_BYTES, Mode, Options, check_fits
from offload.errors import ConfigurationError
from offload.servers import Server
from tests.device_options import read_options


def hosts(text: str) -> list[str]:
    return [each.host for each in read_options(["3", "--host", text]).servers]


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ([], Mode.CLIENT_ONLY),
        (["3", "--host", "cloud"], Mode.MANUAL),
        (["3", "20", "--host", "cloud"], Mode.AUTOMATIC),
    ],
)
def test_the_arguments_choose_the_mode(arguments: list[str], mode: Mode) -> None:
    assert read_options(arguments).mode is mode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cloud", ["cloud"]),
        ("192.0.2.7", ["192.0.2.7"]),
        ("cloud.example, 192.0.2.7", ["cloud.example", "192.0.2.7"]),
        ("cloud.example.", ["cloud.example."]),
        ("w\u00f6lkchen.example", ["w\u00f6lkchen.example"]),
        ("::1", ["::1"]),
        ("[::1]", ["::1"]),
        ("[2001:db8::7],2001:db8::8", ["2001:db8::7", "2001:db8::8"]),
        ("fe80::1%eth0", ["fe80::1%eth0"]),
    ],
)
def test_addresses_and_names_are_taken_as_they_are_but_for_brackets(
    text: str, expected: list[str]
) -> None:
    assert hosts(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:8089", "host 'a:8089' is not an address or a name: give the port by --port or PORT"),
        (":8089", "give the port by --port"),
        ("a:", "give the port by --port"),
        ("[::1]:8089", "give the port by --port"),
        ("[::1", "is not an address or a name"),
        ("a,b:1", "host 'b:1'"),
        ("http://cloud", "host 'http://cloud' is a URL, expected an address or a name"),
        ("cloud/", "is a URL"),
        ("a b", "put commas between"),
        ("a,b..c", "host 'b..c' is not an address or a name: between dots are 1 to 63 characters"),
        (".a", "host '.a' is not an address or a name"),
        (f"{64 * 'a'}.example", "between dots are 1 to 63 characters"),
        ("a,,b", "host list 'a,,b' has an empty entry"),
        ("a,", "has an empty entry"),
        (",", "has an empty entry"),
        ("", "no cloud address"),
        (" ", "no cloud address"),
    ],
)
@pytest.mark.parametrize("place", ["option", "variable"])
def test_what_is_no_host_is_wrong_usage_at_once(place: str, text: str, says: str) -> None:
    arguments = ["3", "--host", text] if place == "option" else ["3"]
    environment = {"HOST": text} if place == "variable" else {}
    with pytest.raises(ConfigurationError) as raised:
        read_options(arguments, environment)
    assert says in str(raised.value)


def test_an_option_goes_before_its_variable() -> None:
    options = read_options(["3", "--host", "a", "--port", "7"], {"HOST": "b", "PORT": "8"})
    assert options.servers == (Server(host="a", port=7),)
    assert read_options(["3"], {"HOST": "b", "PORT": "8"}).servers == (Server(host="b", port=8),)
    # An empty option is a mistake, such as an unset variable of a shell.
    with pytest.raises(ConfigurationError, match="no cloud address"):
        read_options(["3", "--host", ""], {"HOST": "b"})


def test_a_device_needs_a_port_that_a_server_can_have() -> None:
    with pytest.raises(ConfigurationError, match="port is 0: give --port or set PORT"):
        read_options(["3", "--host", "a", "--port", "0"])
    with pytest.raises(ConfigurationError, match="port is 0"):
        read_options(["3", "--host", "a"], {"PORT": "0"})
    assert read_options([], {"PORT": "0"}).mode is Mode.CLIENT_ONLY


@pytest.mark.parametrize("option", ["--spool", "--token-file"])
def test_an_empty_name_of_a_file_is_wrong_usage(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"argument {option}: the name is empty"):
        read_options(["3", "--host", "a", option, ""])


def test_a_spool_limit_of_nothing_is_not_taken_for_the_default() -> None:
    spool = ["3", "--host", "a", "--spool", "s"]
    assert read_options(spool).spool_limit == DEFAULT_SPOOL_BYTES
    options = read_options([*spool, "--spool-limit", "0"])
    assert (options.spool, options.spool_limit) == (Path("s"), 0)


def test_a_stream_without_a_name_gets_a_new_one_each_time() -> None:
    named = read_options(["--stream", "porch"])
    assert (named.stream, named.stream_is_named) == ("porch", True)
    assert not read_options([]).stream_is_named
    assert read_options([]).stream != read_options([]).stream


def of_app(options: Options, *, permits_lossy: bool = True) -> None:
    check_fits(options, tasks=7, splits=range(2, 5), permits_lossy=permits_lossy)


def test_a_split_outside_of_the_app_s_range_is_wrong_usage() -> None:
    of_app(read_options([]))
    for split in ("2", "4"):
        of_app(read_options([split, "--host", "a"]))
    for split in ("1", "5"):
        with pytest.raises(ConfigurationError, match="expected 2 to 4 for the 7 tasks of"):
            of_app(read_options([split, "--host", "a"]))


def test_lossy_is_wrong_usage_where_the_app_permits_it_nowhere() -> None:
    options = read_options(["3", "--host", "a", "--encoding", "lossy"])
    assert options.encoding is EncodingMode.LOSSY
    of_app(options)
    with pytest.raises(ConfigurationError, match="permits a lossy encoding; leave the option out"):
        of_app(options, permits_lossy=False)
