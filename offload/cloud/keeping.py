"""Where the results of streams go: into the server's store, or, of a trial, nowhere.

keepers = Keepers(store, on_committed=stored.put, on_stale=give_up)
keepers.kept.put(finished)
keepers.trials.store.durable                    # False
unwritten = keepers.close(timeout_s=10.0)
"""

from collections.abc import Callable
from functools import cached_property

from offload.errors import AuthError
from offload.messages import TRIAL_SUFFIX, Open, is_stream_name, is_trial
from offload.results import ResultsStore, open_results
from offload.results.writer import Finished, ResultsWriter

Told = Callable[[list[Finished]], None]


class Keeper:
    """A store, and what writes to it.

    Args:
        store: Where results are kept.
        on_committed: As of `ResultsWriter`.
        on_stale: As of `ResultsWriter`.
    """

    def __init__(self, store: ResultsStore, *, on_committed: Told, on_stale: Told) -> None:
        """Start the writer."""
        self.store = store
        self._writer = ResultsWriter(store, on_committed=on_committed, on_stale=on_stale)
        self.put = self._writer.put

    def finish(self, *, timeout_s: float) -> list[Finished]:
        """Commit what is left, and return what could not be in this time."""
        return self._writer.close(timeout_s=timeout_s)


class Keepers:
    """That of streams that are kept, and that of trials; the arguments are those of `Keeper`."""

    def __init__(self, store: ResultsStore, *, on_committed: Told, on_stale: Told) -> None:
        """Start with the first one; most servers never see a trial."""
        self._on_committed, self._on_stale = on_committed, on_stale
        self.kept = Keeper(store, on_committed=on_committed, on_stale=on_stale)

    @cached_property
    def trials(self) -> Keeper:
        """The keeper of trials, made on first use: it keeps positions in memory, and no results."""
        return Keeper(
            open_results("none"), on_committed=self._on_committed, on_stale=self._on_stale
        )

    def of(self, opening: Open) -> Keeper:
        """Return the keeper of the stream that a device opens."""
        return self.trials if opening.trial else self.kept

    def finish(self, *, timeout_s: float) -> list[Finished]:
        """Commit what is left, and return what could not be in this time."""
        if "trials" in self.__dict__:
            # In memory, where nothing is ever left.
            self.trials.finish(timeout_s=timeout_s)
        return self.kept.finish(timeout_s=timeout_s)


def kept_name(opening: Open) -> str:
    """Return what the server calls the stream that a device opens.

    Raises:
        AuthError: It may not be called so.
    """
    name = opening.stream
    if not opening.trial:
        if is_trial(name):
            raise AuthError(f"stream {name!r} is called like a trial: choose another --stream")
        return name
    if not is_stream_name(name + TRIAL_SUFFIX):
        raise AuthError(f"stream {name!r} has too long a name for a trial: choose another --stream")
    return name + TRIAL_SUFFIX
