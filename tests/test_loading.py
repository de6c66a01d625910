"""Finding an app's pipeline, and saying why there is none."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from offload.errors import ConfigurationError, LoadingError
from offload.loading import App, load_app

Write = Callable[[str], str]

PIPELINE = """
from task_interface import Pipeline, source, task

def build(name):
    return Pipeline([source(gives="x", name=name)(lambda: iter(())), task(name="end")(lambda x: x)])
"""

TASKS = """
def read(): return False
def end(x): return True, x
tasks = [read, end]
"""

_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module to the working directory and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    known = set(sys.modules)

    def write_module(text: str) -> str:
        name = f"app_of_test_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write_module
    for name in set(sys.modules) - known:
        del sys.modules[name]


def load(spec: str, source: str | None = None) -> App:
    return load_app(spec, source=source, source_is_default=source is None)


def first(app: App) -> str:
    return app.pipeline.names[0]


def test_a_maker_goes_before_a_pipeline_and_that_before_tasks(write: Write) -> None:
    tasks = PIPELINE + TASKS
    pipeline = f"{tasks}\npipeline = build('ready')\n"
    maker = f"{pipeline}\ndef make_pipeline(spec): return build('made')\n"
    assert [first(load(write(each))) for each in (tasks, pipeline, maker)] == [
        "read",
        "ready",
        "made",
    ]


def test_an_attribute_can_be_named(write: Write) -> None:
    name = write(f"{PIPELINE}\npipeline = build('one')\nother = build('two')\n")
    app = load(f"{name}:other")
    assert (app.name, first(app)) == (name, "two")


def test_a_maker_gets_the_source_and_none_in_the_cloud(write: Write) -> None:
    name = write(f"{PIPELINE}\ndef make_pipeline(spec): return build(f'from {{spec}}')\n")
    assert first(load(name, "camera:0")) == "from camera:0"
    assert first(load(name)) == "from None"


def test_plain_tasks_run_one_at_a_time_unless_the_module_is_stateless(write: Write) -> None:
    assert load(write(TASKS)).pipeline.one_at_a_time
    assert not load(write(f"{TASKS}\nstateless = True\n")).pipeline.one_at_a_time


def test_a_source_for_an_app_that_takes_none_is_wrong_usage(write: Write) -> None:
    with pytest.raises(ConfigurationError, match="takes no --source"):
        load(write(TASKS), "camera:0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has none of make_pipeline, pipeline, tasks"),
        ("import no_such_module_at_all", "needs module 'no_such_module_at_all'"),
        ("1 / 0", "raised ZeroDivisionError on import"),
        ("def (", "raised SyntaxError on import"),
        ("pipeline = 7", "is int, expected a Pipeline"),
        ("tasks = 'read'", "is str, expected a Pipeline"),
        ("def make_pipeline(): pass", "cannot be made from a source"),
        ("def make_pipeline(spec): return 7", "made int, expected a Pipeline"),
        ("def make_pipeline(spec): raise OSError('no camera')", "raised OSError: no camera"),
    ],
)
def test_an_app_that_cannot_be_loaded_says_why(write: Write, text: str, message: str) -> None:
    with pytest.raises(LoadingError, match=message):
        load(write(text))


def test_an_error_that_an_app_raises_on_purpose_comes_out_as_it_is(write: Write) -> None:
    text = "from task_interface import LoadingError\ndef make_pipeline(spec):\n"
    with pytest.raises(LoadingError, match=r"^no such clip$"):
        load(write(f"{text}    raise LoadingError('no such clip')\n"))


def test_a_missing_module_or_attribute_is_named(write: Write) -> None:
    with pytest.raises(LoadingError, match="app 'no_such_app' not found in"):
        load("no_such_app")
    name = write(TASKS)
    with pytest.raises(LoadingError, match=f"app '{name}' has no 'other'"):
        load(f"{name}:other")
    with pytest.raises(LoadingError, match="app has no name"):
        load(":tasks")
