"""Seven tasks that do nothing, so that what a frame costs is the framework's own.

    --app benchmarks.empty_app

The one value is a small number: it has no buffer, so that each message is an envelope only.
"""

from collections.abc import Iterator
from typing import Final

from task_interface import Pipeline, source, task

__all__ = ["FUNCTIONS", "pipeline"]


@source(gives="value_1")
def task_1() -> Iterator[int]:
    """Yield numbers without an end."""
    while True:
        yield 1


@task(gives="value_2")
def task_2(value_1: int) -> int:
    """Hand the number on."""
    return value_1


@task(gives="value_3")
def task_3(value_2: int) -> int:
    """Hand the number on."""
    return value_2


@task(gives="value_4")
def task_4(value_3: int) -> int:
    """Hand the number on."""
    return value_3


@task(gives="value_5")
def task_5(value_4: int) -> int:
    """Hand the number on."""
    return value_4


@task(gives="value_6")
def task_6(value_5: int) -> int:
    """Hand the number on."""
    return value_5


@task()
def task_7(value_6: int) -> int:
    """Return the number as the frame's result."""
    return value_6


pipeline: Final = Pipeline([task_1, task_2, task_3, task_4, task_5, task_6, task_7])

# The six tasks behind the source, as a plain loop calls them.
FUNCTIONS: Final = tuple(each.function for each in pipeline.tasks[1:])
