"""Load an app: find the pipeline in a user's module, and say clearly why if that fails.

app = load_app("ball_tracking_example", source="synthetic")     # on the device
app = load_app("ball_tracking_example", source=None)            # in the cloud: no source is opened
"""

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from offload.errors import ConfigurationError, LoadingError, OffloadError
from task_interface import Pipeline

# What is looked for in a module, in this order.
ATTRIBUTES: Final = ("make_pipeline", "pipeline", "tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A pipeline and the name by which both ends know it."""

    name: str
    pipeline: Pipeline


def load_app(spec: str, *, source: str | None, source_is_default: bool = True) -> App:
    """Return the app that ``MODULE`` or ``MODULE:ATTR`` names.

    Args:
        spec: Module to import, from the working directory first; an attribute instead of the first
            of `ATTRIBUTES`.
        source: Handed to ``make_pipeline``; None in the cloud, where nothing may be opened.
        source_is_default: Whether the user gave no source; an app that takes none is then fine.

    Raises:
        LoadingError: There is no such module, it cannot be imported, or holds no pipeline.
        ConfigurationError: The pipeline contradicts itself, or a source was given for an app that
            takes none.
    """
    module_name, _, attribute = spec.partition(":")
    module = _import(module_name)
    name = attribute or next((each for each in ATTRIBUTES if hasattr(module, each)), "")
    if not name:
        raise LoadingError(f"app {module_name!r} has none of {', '.join(ATTRIBUTES)}")
    if not hasattr(module, name):
        raise LoadingError(f"app {module_name!r} has no {name!r}")
    found = getattr(module, name)
    takes_source = callable(found) and not isinstance(found, Pipeline)
    if source is not None and not source_is_default and not takes_source:
        raise ConfigurationError(f"app {spec!r} takes no --source: leave it out")
    stateless = getattr(module, "stateless", False) is True
    return App(name=module_name, pipeline=_pipeline(spec, found, source, stateless=stateless))


def check_names(names: Sequence[str]) -> None:
    """Check that no two apps of a server have the same name, by which devices ask for one.

    Raises:
        ConfigurationError: They do.
    """
    for name, times in Counter(names).items():
        if times > 1:
            raise ConfigurationError(f"app {name!r} is given twice")


def _import(module_name: str) -> object:
    if not module_name:
        raise LoadingError("app has no name: give --app MODULE or --app MODULE:ATTR")
    # A script's own folder is on the path, but a console script is run from anywhere: what the user
    # sees in the working directory is what is meant.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            raise LoadingError(
                f"app {module_name!r} not found in {here} nor among the installed modules"
            ) from error
        raise LoadingError(
            f"app {module_name!r} needs module {error.name!r}, which is not installed"
        ) from error
    # A user's module may raise anything while it is imported, or call sys.exit() because it was
    # written as a script; its error is the user's answer.
    except (Exception, SystemExit) as error:
        raise LoadingError(
            f"app {module_name!r} raised {type(error).__name__} on import: {error}"
        ) from error


def _pipeline(spec: str, found: object, source: str | None, *, stateless: bool) -> Pipeline:
    if isinstance(found, Pipeline):
        return found
    if isinstance(found, Sequence) and not isinstance(found, str):
        functions = cast("Sequence[Callable[..., object]]", found)
        return Pipeline.plain(functions, stateless=stateless)
    if callable(found):
        made = _make(spec, found, source)
        if isinstance(made, Pipeline):
            return made
        raise LoadingError(f"app {spec!r} made {type(made).__name__}, expected a Pipeline")
    raise LoadingError(
        f"app {spec!r} is {type(found).__name__}, expected a Pipeline, a function that makes "
        "one, or a list of functions"
    )


def _make(spec: str, maker: Callable[..., object], source: str | None) -> object:
    try:
        inspect.signature(maker).bind(source)
    except TypeError as error:
        raise LoadingError(f"app {spec!r} cannot be made from a source: {error}") from error
    try:
        return maker(source)
    except OffloadError:
        raise
    # As on import: whatever the user's function raises is the answer.
    except Exception as error:
        raise LoadingError(f"app {spec!r} raised {type(error).__name__}: {error}") from error
