"""What the process of a link says where it cannot begin. Needs no root."""

import pytest

from offload.emulation.links.relay_messages import settings_line
from tests.emulation.relay_process import ended, relay, settings

pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")


@pytest.mark.integration
def test_a_relay_that_is_told_nothing_ends() -> None:
    with relay() as process:
        assert ended(process) == (0, "", "")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "complaint", "exit_code"),
    [
        ("wifi\n", "no settings of a link", 2),
        ("x" * 200_000, "more than 65536 bytes", 2),
        (settings_line(settings("near", "far", device="wifi")).rstrip(), "ends within a line", 2),
        (settings_line(settings("near", "far", device="wifi")), "namespace near", 1),
    ],
    ids=["no settings", "too long", "cut off", "no such namespace"],
)
def test_a_relay_says_in_one_line_what_is_wrong(line: str, complaint: str, exit_code: int) -> None:
    with relay() as process:
        assert process.stdin is not None
        process.stdin.write(line)
        code, said, complained = ended(process)
    assert (code, said) == (exit_code, "")
    assert complained.startswith("error: ")
    assert complained.count("\n") == 1
    assert complaint in complained
