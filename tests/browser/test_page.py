"""The web page with the real server and devices, as people use it."""

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest

from offload.messages import SAMPLED, Control
from offload.telemetry.events import SessionLost, TelemetryEvent
from offload.telemetry.form import to_fields
from tests.browser.browsing import PageServer, Visit, device, page_server, page_url, trace_viewer
from tests.faults.proxy import FaultProxy
from tests.integration.programs import client, cloud_server, run_client, write_app
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice
from tests.seen_events import sampled

pytestmark = pytest.mark.browser

# A rate that a busy machine reaches at any split.
AT_15_FPS: Final = ("2", "15", "--source", "synthetic", "--rate", "30", "--stream", "porch")

# How many different bytes there are in a canvas: an empty one has one or two.
SHADES: Final = """canvas => {
    const drawn = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(drawn.data).size;
}"""

# How high a blue line is in the middle of a canvas, as a part of its height.
LINE_HEIGHT: Final = """canvas => {
    const x = Math.floor(0.7 * canvas.width);
    const { data } = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height);
    const isBlue = (at) => data[at + 3] > 128 && data[at + 2] > data[at] + 60;
    const rows = [...Array(canvas.height).keys()].filter((row) => isBlue(4 * row));
    return 1 - rows[0] / canvas.height;
}"""

# What another operator does, while this one looks.
CHANGE: Final = """([change, body]) => fetch(`/api/devices/porch/${change}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
})"""

# Adds one event more than are kept, then the first one again; gives the one that is on top then.
ADD_EVENTS: Final = """async () => {
    const { Notices } = await import("/static/tables.js");
    const notices = new Notices({ live: false });
    const add = (at_s) => notices.add({ at_s, kind: "any", level: "info", text: `${at_s}` });
    for (let at_s = 0; at_s <= 200; at_s += 1) add(at_s);
    add(0);
    return notices.node.querySelector("li .words").textContent;
}"""

# What waits for a frame has been done after the second one.
NEXT_FRAMES: Final = """() => new Promise(
    (done) => requestAnimationFrame(() => requestAnimationFrame(done))
)"""

A_DATE: Final = re.compile(r"^\w+ \d+, \d\d:\d\d:\d\d$")

NOT_PINNED: Final = re.compile(r"\d of 7$")

# Never ends, and has no pictures.
ENDLESS: Final = NUMBERS.replace("yield from range(10)", "yield from iter(int, 1)")


def write_trace(folder: Path, *events: TelemetryEvent) -> Path:
    path = folder / "run.jsonl"
    path.write_text("".join(f"{json.dumps(to_fields(each))}\n" for each in events))
    return path


class Questions:
    """Counts what a page asks for, by path: in all, and at a time."""

    def __init__(self, visit: Visit) -> None:
        self.asked: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        visit.page.on("request", self._begin)
        visit.page.on("requestfinished", self._end)
        visit.page.on("requestfailed", self._end)

    def _begin(self, request: Any) -> None:
        path = urlsplit(request.url).path
        self.asked[path] += 1
        self._open[path] += 1
        self.most[path] = max(self.most[path], self._open[path])

    def _end(self, request: Any) -> None:
        self._open[urlsplit(request.url).path] -= 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    with page_server(tmp_path) as server:
        yield server


def test_a_wrong_token_is_refused_in_words_and_a_right_one_let_in(
    server: PageServer, visit: Visit
) -> None:
    visit.page.goto(server.url)
    visit.page.get_by_label("Token").fill("boss:not-the-secret")
    visit.page.keyboard.press("Enter")
    visit.sees("#error", "This token is not one of the server")
    visit.page.get_by_label("Token").fill(server.operator.line())
    visit.page.keyboard.press("Enter")
    visit.sees("h1", "Devices")
    visit.sees("#who", "boss may change devices")
    visit.page.get_by_role("button", name="Sign out").click()
    visit.page.get_by_label("Token").wait_for()


def test_who_tries_too_often_is_told_how_long_to_wait(server: PageServer, visit: Visit) -> None:
    for number in range(6):
        visit.page.goto(server.url)
        visit.page.get_by_label("Token").fill(f"boss:not-the-secret-{number}")
        visit.page.keyboard.press("Enter")
        visit.first("#error:not([hidden])").wait_for()
    visit.sees("#error", re.compile(r"Too many wrong tries from this address. Try again in \d+ s"))


def test_charts_tables_and_picture_fill_with_what_the_pair_measures(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        visit.sees(".headline .fps", re.compile(r"[1-9]\d\.\d\s*FPS of 15"))
        visit.page.get_by_text("Data: Throughput").click()
        rows = visit.first("details[open] tbody").locator("tr")
        rows.nth(4).wait_for()
        values = [float(each) for each in rows.first.locator("td").all_inner_texts()]
        assert 10 < values[0] < 60
        assert values[1] == 15
        for each in visit.page.locator(".plot canvas").all()[:4]:
            assert int(each.evaluate(SHADES)) > 3
        visit.first(".picture img:not([hidden])").wait_for()
        visit.sees(".tasks tbody", "calculate_circle")
        visit.sees(".forecasts tbody", re.compile(r"\(now"))
        visit.first(".results tbody tr:nth-child(20)").wait_for()
        visit.sees(".trail p", re.compile(r"x \d+, y \d+ pixels"))
        visit.sees(".events", "connected from 127.0.0.1")


def test_a_target_that_is_set_is_reached_by_the_device(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    beyond_its_rate = ("2", "500", "--source", "synthetic", "--rate", "30", "--stream", "porch")
    with device(tmp_path, server, *beyond_its_rate) as program:
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        visit.sees(".title .state", "Below target")
        visit.page.get_by_label("Target FPS").fill("12.5")
        visit.page.get_by_role("button", name="Set").click()
        visit.sees(".answer", "Done: target 12.5 FPS")
        visit.sees(".headline .fps", "of 12.5")
        visit.sees(".title .state", "On target")
        visit.sees(".events", "target 12.5 FPS")
        program.wait_for_line("target=12.5")


def test_fields_follow_the_server_but_for_what_somebody_types(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        target = visit.page.get_by_label("Target FPS")

        def others_set(fps: float) -> None:
            visit.page.evaluate(CHANGE, ["target", {"fps": fps}])
            visit.sees(".headline .fps", f"of {fps:g}")

        target.fill("14")
        target.press("Enter")
        visit.sees(".answer", "Done: target 14 FPS")
        others_set(15)
        # The focus is in it still.
        visit.has_value(target, "15")
        target.fill("16")
        target.blur()
        others_set(17)
        visit.has_value(target, "16")
        for left in ("17", ""):
            target.fill(left)
            target.blur()
            others_set(18)
            visit.has_value(target, "18")
            others_set(17)
        pin = visit.page.get_by_label("Pin the split")
        pin.focus()
        visit.page.evaluate(CHANGE, ["pin", {"split": 4}])
        visit.sees(".split-title", "4 of 7, pinned")
        pin.blur()
        visit.has_value(pin, "4")


def test_what_is_typed_before_a_device_has_said_how_it_runs_stays(
    tmp_path: Path, visit: Visit
) -> None:
    app = RawApp.of(write_app(tmp_path, "counting", NUMBERS), NUMBERS)
    with (
        page_server(tmp_path, "--app", app.name) as server,
        RawDevice(server.program.port, app, stream="porch", token=server.device) as raw,
    ):
        raw.open()
        visit.sign_in(server.url, server.operator)
        visit.page.goto(f"{server.url}#device=porch")
        target = visit.page.get_by_label("Target FPS")
        target.fill("14")
        said = to_fields(sampled(task_count=3, target_fps=15.0))
        with visit.page.expect_response("**/api/devices/porch"):
            raw.send_raw(Control(name=SAMPLED, body=said))
        visit.page.evaluate(NEXT_FRAMES)
        visit.sees(".headline .fps", "of 15")
        visit.has_value(target, "14")
        visit.leave()


def test_a_change_that_nobody_makes_is_answered_in_words_and_keeps_the_focus(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        target = visit.page.get_by_label("Target FPS")
        # So that the server has to refuse it.
        target.evaluate("field => field.removeAttribute('max')")
        target.fill("2000000")
        target.press("Enter")
        visit.sees(".answer.bad", "Not done: fps is 2000000, expected")
        assert target.evaluate("field => field === document.activeElement")
        assert target.input_value() == "2000000"


def test_a_device_with_a_fixed_split_can_be_drained_only(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, "2", "--source", "synthetic", "--stream", "porch"):
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        visit.sees(".steer", "It was started with a fixed split")
        visit.counts(".steer input, .steer select", 0)
        visit.page.get_by_role("button", name="Drain…").wait_for()


def test_a_split_is_pinned_and_released(server: PageServer, tmp_path: Path, visit: Visit) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        visit.page.get_by_label("Pin the split").select_option("4")
        pin = visit.page.get_by_role("button", name="Pin", exact=True)
        pin.click()
        visit.sees(".answer", "Done: split pinned to 4")
        assert pin.evaluate("button => button === document.activeElement")
        visit.sees(".split-title", "4 of 7, pinned")
        visit.sees(".reason", "pinned to 4")
        visit.page.get_by_role("button", name="Release").click()
        visit.sees(".answer", "Done: split released")
        visit.sees(".split-title", NOT_PINNED)
        visit.sees_no(".reason", "pinned")


def test_a_device_that_is_killed_is_shown_as_lost_and_then_as_back(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    visit.sign_in(server.url, server.operator)
    with device(tmp_path, server, *AT_15_FPS) as program:
        visit.open_device("porch")
        visit.sees(".title .state", "On target")
        program.kill()
        visit.sees(".title .state", "Lost")
        visit.sees(".reason", "not connected")
        visit.sees(".title .seen", re.compile(r"last heard \d+ s ago"))
        visit.sees(".headline.away .fps", re.compile(r"\d\d\.\dFPS of 15"))
        visit.sees(".steer .disabled", "nothing can be changed until it is back")
        assert visit.page.get_by_role("button", name="Drain…").is_disabled()
        visit.sees(".picture", "No picture: the device is not connected")
    with device(tmp_path, server, *AT_15_FPS):
        visit.sees(".title .state", "On target")
        visit.sees_no(".reason", "not connected")
        visit.sees_no(".picture", "not connected")
        assert visit.page.get_by_role("button", name="Drain…").is_enabled()
        visit.page.get_by_role("link", name="All devices").click()
        visit.sees("tr[data-state=met] th", "porch")


def test_a_drained_device_ends_well_after_somebody_confirmed_it(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, *AT_15_FPS) as program:
        visit.sign_in(server.url, server.operator)
        visit.open_device("porch")
        visit.page.get_by_role("button", name="Drain…").click()
        visit.page.get_by_role("button", name="Cancel").click()
        assert program.is_running
        visit.page.get_by_role("button", name="Drain…").click()
        visit.sees("dialog", "Drain porch?")
        visit.page.get_by_role("button", name="Drain", exact=True).click()
        assert program.wait().code == 0
        visit.sees(".title .state", "Ended")


@contextmanager
def counting_server(folder: Path) -> Iterator[tuple[str, Callable[[str], RawDevice]]]:
    """Run a server that lets anybody in; yield its page, and what connects a device by name."""
    app = RawApp.of(write_app(folder, "counting", NUMBERS), NUMBERS)
    arguments = ("--insecure", "--app", app.name, "--dashboard", "0")
    with cloud_server(folder, *arguments) as program, ExitStack() as stack:

        def connect(stream: str) -> RawDevice:
            raw = stack.enter_context(RawDevice(program.port, app, stream=stream))
            raw.open()
            return raw

        yield page_url(program), connect


def test_fifty_devices_are_listed_filtered_and_sorted(tmp_path: Path, visit: Visit) -> None:
    with counting_server(tmp_path) as (url, connect):
        for number in range(50):
            connect(f"pi-{number:02}")
        visit.page.goto(url)
        visit.sees(".summary", "50 devices")
        visit.counts("tbody tr", 50)
        for width in (360, 800, 900, 1000, 1100, 1200):
            visit.look_like("light", width)
            visit.has_no_faults()
        visit.page.get_by_label("Filter").fill("pi-1")
        visit.counts("tbody tr", 10)
        visit.page.get_by_label("Filter").fill("")
        visit.page.get_by_role("button", name="Device", exact=True).click()
        visit.sees("tbody tr th", "pi-00")
        visit.page.get_by_role("button", name="Device", exact=True).click()
        visit.sees("tbody tr th", "pi-49")
        visit.leave()


def test_rows_keep_their_places_while_somebody_goes_from_one_to_the_next(
    tmp_path: Path, visit: Visit
) -> None:
    with counting_server(tmp_path) as (url, connect):
        for stream in ("pi-1", "pi-2"):
            connect(stream)
        visit.page.goto(url)
        visit.counts("tbody tr", 2)
        visit.page.get_by_role("link", name="pi-1").focus()
        connect("pi-0")
        visit.counts("tbody tr", 3)
        visit.page.keyboard.press("Tab")
        visit.page.evaluate(NEXT_FRAMES)
        assert visit.page.locator("tbody a").all_inner_texts() == ["pi-1", "pi-2", "pi-0"]
        visit.sees(":focus", "pi-2")
        visit.page.get_by_label("Filter").focus()
        visit.sees("tbody tr th", "pi-0")
        visit.leave()


def test_a_day_that_is_not_today_is_named_and_all_times_are_said_anew_at_midnight(
    tmp_path: Path, visit: Visit
) -> None:
    with counting_server(tmp_path) as (url, connect):
        raw = connect("porch")
        # It was captured at the beginning of 1970.
        raw.send_frame(0, number=1)
        raw.wait_for_acknowledgement(1)
        visit.page.goto(f"{url}#device=porch")
        captured, received = (f".results tbody td:nth-child({column})" for column in (2, 3))
        visit.sees(captured, A_DATE)
        visit.sees_no(received, A_DATE)
        with visit.page.expect_request("**/events"):
            visit.page.evaluate("Date.now = () => Date.parse('2100-01-01')")
        visit.first(".results").scroll_into_view_if_needed()
        visit.sees(received, A_DATE)
        visit.leave()


def test_names_that_devices_choose_are_shown_as_text(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    name = '<img src="x" onerror="document.title=1"> & %41/'
    with device(tmp_path, server, "2", "--source", "synthetic", "--stream", name):
        visit.sign_in(server.url, server.operator)
        visit.open_device(name)
        visit.sees("h1", name)
        visit.sees(".headline .fps", "FPS, no target")
        visit.counts("h1 img, tbody img", 0)


def test_a_viewer_is_told_why_there_are_no_controls(
    server: PageServer, tmp_path: Path, visit: Visit
) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.viewer)
        visit.open_device("porch")
        visit.sees(".no-controls", "Only operators may change a device")
        visit.counts(".steer, dialog", 0)


def test_the_page_comes_back_by_itself_after_the_server_did(tmp_path: Path, visit: Visit) -> None:
    visit.may_lose_the_server = True
    with cloud_server(tmp_path, "--insecure", "--dashboard", "0") as first:
        url = page_url(first)
        visit.page.goto(url)
        visit.sees("h1", "Devices")
        other = Visit(visit.page.context.new_page())
        other.page.goto(f"{url}#device=porch")
        other.sees(".unknown", "The server knows no device of this name")
        first.kill()
        visit.sees("#banner", "Connection to the server lost")
        other.sees("#banner", "Connection to the server lost")
    place = url.rstrip("/").rsplit(":", 1)[1]
    with cloud_server(tmp_path, "--insecure", "--dashboard", place) as second:
        page_url(second)
        visit.page.locator("#banner").wait_for(state="hidden")
        visit.sees(".empty", "No device has connected yet")
        other.page.locator("#banner").wait_for(state="hidden")


def test_a_network_that_dies_without_a_word_is_noticed_and_a_device_that_is_quiet_is_no_such(
    tmp_path: Path, visit: Visit
) -> None:
    visit.may_lose_the_server = True
    app = write_app(tmp_path, "endless", ENDLESS)
    with cloud_server(tmp_path, "--insecure", "--app", app, "--dashboard", "0") as program:
        url = page_url(program)
        options = ("--app", app, *program.address)
        ended = run_client(tmp_path, "1", "--stream", "quiet", "--frames", "9", *options)
        assert ended.code == 0, ended.err
        quiet = Visit(visit.page.context.new_page())
        asked_by_quiet = Questions(quiet)
        quiet.page.goto(f"{url}#device=quiet")
        quiet.sees(".title .state", "Ended")
        place = urlsplit(url).port
        assert place is not None
        with (
            client(tmp_path, "1", "15", "--stream", "porch", "--rate", "30", *options),
            FaultProxy(target=("127.0.0.1", place), seed=1) as proxy,
            FaultProxy(target=("127.0.0.1", place), seed=2) as late_proxy,
        ):
            late = Visit(visit.page.context.new_page())
            late.page.goto(f"http://127.0.0.1:{late_proxy.port}/")
            late.sees("tr[data-state=met] th", "porch")
            asked = Questions(visit)
            visit.page.goto(f"http://127.0.0.1:{proxy.port}/#device=porch")
            visit.sees(".title .state", "On target")
            visit.first(".results tbody tr:nth-child(20)").wait_for()
            proxy.black_hole()
            late_proxy.stall()
            visit.page.get_by_role("button", name="Older").click()
            no_answer = "could not be loaded: the server does not answer. Trying again"
            visit.sees(".results > p", no_answer)
            visit.sees(".results [role=status]", "Newest results")
            visit.sees("#banner", "Connection to the server lost")
            visit.sees(".picture", "No picture: the server does not answer")
            late.sees("#banner", "Connection to the server lost")
            # Here all comes that was held up, on the same connection.
            late_proxy.heal()
            late.page.locator("#banner").wait_for(state="hidden")
            # What fails once more is asked for again.
            visit.page.route("**/api/devices/porch", lambda route: route.abort(), times=1)
            proxy.heal()
            visit.page.locator("#banner").wait_for(state="hidden")
            visit.sees(".results [role=status]", "Page 2")
            visit.page.locator(".results > p").wait_for(state="hidden")
            # It was scrolled out of sight.
            visit.first(".picture").scroll_into_view_if_needed()
            visit.sees(".picture", "Waiting for a picture")
            assert asked.most["/api/session"] == 1
            assert asked.most["/api/devices/porch/results"] == 1
        # It was there for all that time, which is longer than a silence is taken for one.
        assert asked_by_quiet.asked["/api/devices/quiet/events"] == 1
        assert quiet.problems == []
        for each in (quiet, late, visit):
            each.leave()


def test_who_is_signed_out_by_the_server_is_led_to_the_sign_in(
    tmp_path: Path, visit: Visit
) -> None:
    with page_server(tmp_path) as server:
        visit.sign_in(server.url, server.operator)
        (tmp_path / "tokens").write_text(server.viewer.line() + "\n", encoding="ascii")
        server.program.send(signal.SIGHUP)
        visit.page.get_by_label("Token").wait_for()
        visit.sees("#ended", "your sign-in ended")


def test_who_signs_in_again_after_a_restart_is_told_why_and_sees_the_same_device(
    tmp_path: Path, visit: Visit
) -> None:
    visit.may_lose_the_server = True
    with page_server(tmp_path) as first, device(tmp_path, first, *AT_15_FPS):
        visit.sign_in(first.url, first.operator)
        visit.open_device("porch")
        first.program.kill()
        visit.sees("#banner", "Connection to the server lost")
    place = first.url.rstrip("/").rsplit(":", 1)[1]
    with page_server(tmp_path, page=place) as second:
        visit.sees("#ended", "The server was started again, or your sign-in ended")
        visit.has_no_faults()
        visit.page.get_by_label("Token").fill("boss:not-the-secret")
        visit.page.keyboard.press("Enter")
        visit.sees("#error", "This token is not one of the server")
        visit.page.get_by_label("Token").fill(second.operator.line())
        visit.page.keyboard.press("Enter")
        visit.sees("h1", "porch")


def test_a_recorded_run_is_shown_with_zoom_and_without_controls(
    tmp_path: Path, visit: Visit
) -> None:
    options = ("2", "15", "--source", "synthetic", "--rate", "30", "--duration", "8")
    with cloud_server(tmp_path) as server:
        ended = run_client(tmp_path, *options, *server.address, "--trace", "run.jsonl")
    assert ended.code == 0, ended.err
    with trace_viewer(tmp_path / "run.jsonl") as url:
        visit.page.goto(url)
        visit.sees(".no-controls", "This is a recorded run")
        visit.counts(".steer, .picture, .results", 0)
        plot = visit.first(".u-over").bounding_box()
        assert plot is not None
        left, middle, y = plot["x"] + 2, plot["x"] + plot["width"] / 2, plot["y"] + 20
        visit.page.mouse.move(left, y)
        visit.page.mouse.down()
        visit.page.mouse.move(middle, y, steps=4)
        visit.page.mouse.up()
        reset = visit.page.get_by_role("button", name="Reset zoom")
        visit.first("button[aria-disabled=false]").wait_for()
        visit.page.get_by_text("Data: Throughput").click()
        rows = visit.first("details[open] tbody").locator("tr")
        rows.nth(1).wait_for()
        zoomed = rows.count()
        reset.click()
        visit.first("button[aria-disabled=true]").wait_for()
        # There is one more at least.
        rows.nth(zoomed).wait_for()


def test_a_single_peak_does_not_flatten_a_chart_and_is_marked(tmp_path: Path, visit: Visit) -> None:
    latencies_s = [0.03] * 200
    latencies_s[50] = 3.0
    samples = (
        sampled(at_s=float(at_s), running_s=float(at_s), latency_p50_s=each, split=2.0)
        for at_s, each in enumerate(latencies_s)
    )
    with trace_viewer(write_trace(tmp_path, *samples)) as url:
        visit.page.goto(url)
        visit.sees(".legend .peak:not(:empty)", "peaks up to 3.00 s")
        latency = visit.page.locator("figure", has_text="Latency").locator("canvas")
        # The line is far above the axis at its bottom.
        assert latency.evaluate(LINE_HEIGHT) > 0.5
        left, y = (plot := latency.bounding_box() or {})["x"], plot["y"]
        visit.page.mouse.move(left + 0.6 * plot["width"], y + 20)
        visit.page.mouse.down()
        visit.page.mouse.move(left + 0.9 * plot["width"], y + 20, steps=4)
        visit.page.mouse.up()
        visit.counts(".legend .peak:not(:empty)", 0)


def test_all_events_of_a_recorded_run_that_are_kept_are_shown_and_their_number(
    tmp_path: Path, visit: Visit
) -> None:
    lost = (
        SessionLost(at_s=float(at_s), stream="s", reason=f"reason {at_s}", in_flight=0)
        for at_s in range(1001)
    )
    with trace_viewer(write_trace(tmp_path, sampled(), *lost)) as url:
        visit.page.goto(url)
        visit.counts(".events li", 1000)
        visit.sees(".events li", "reason 1000")
        visit.sees(".events p", "The newest 1,000 of 1,001 events")
        assert visit.page.evaluate(ADD_EVENTS) == "0"


def test_a_mean_split_between_two_is_shown_as_both(tmp_path: Path, visit: Visit) -> None:
    with trace_viewer(
        write_trace(tmp_path, sampled(split=1.4), sampled(at_s=2.0, split=1.4))
    ) as url:
        visit.page.goto(url)
        visit.sees(".split-title", "Split 1 to 2 of 7")


def test_all_is_reached_by_keyboard(server: PageServer, tmp_path: Path, visit: Visit) -> None:
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.page.get_by_role("link", name="porch").wait_for()
        visit.page.goto(server.url)
        visit.sees("h1", "Devices")
        visit.page.keyboard.press("Tab")
        visit.sees(":focus", "Skip to the content")
        visit.page.keyboard.press("Enter")
        visit.sees(":focus", "Devices")
        for _ in range(12):
            visit.page.keyboard.press("Tab")
            if visit.first(":focus").inner_text() == "porch":
                break
        visit.sees("a:focus", "porch")
        visit.page.keyboard.press("Enter")
        visit.sees("h1:focus", "porch")
        visit.page.get_by_label("Target FPS").wait_for()
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.type("14")
        visit.page.keyboard.press("Enter")
        visit.sees(".answer", "Done: target 14 FPS")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious_and_no_page_scrolls_sideways(
    server: PageServer, tmp_path: Path, visit: Visit, scheme: Literal["light", "dark"], width: int
) -> None:
    visit.look_like(scheme, width)
    visit.page.goto(f"{server.url}sign-in?refused")
    visit.sees("#error", "This token is not one of the server")
    visit.has_no_faults()
    with device(tmp_path, server, *AT_15_FPS):
        visit.sign_in(server.url, server.operator)
        visit.page.get_by_role("link", name="porch").wait_for()
        visit.has_no_faults()
        visit.open_device("porch")
        visit.first(".results tbody tr").wait_for()
        for each in visit.page.locator("summary").all():
            each.click()
        visit.has_no_faults()
        visit.page.get_by_role("button", name="Drain…").click()
        visit.sees("dialog", "Drain porch?")
        visit.has_no_faults()
