"""Lines of the log: what they look like."""

import json
import logging

from offload.logs import JsonFormatter, TextFormatter


def record(**fields: object) -> logging.LogRecord:
    made = {"name": "device", "levelname": "INFO", "msg": "progress", "created": 0.0, **fields}
    return logging.makeLogRecord(made)


def test_a_line_says_its_fields_behind_its_name() -> None:
    line = TextFormatter().format(record(fps=24.123456, why="the link is slow"))
    assert line.endswith(' INFO progress fps=24.12 why="the link is slow"')


def test_what_is_not_known_is_left_out_for_people_and_null_for_machines() -> None:
    unknown = record(latency_p95_ms=None, dropped=0)
    assert TextFormatter().format(unknown).endswith(" INFO progress dropped=0")
    line = json.loads(JsonFormatter().format(unknown))
    assert (line["latency_p95_ms"], line["dropped"]) == (None, 0)
