"""How busy this process and this machine are."""

import resource
import sys
import time


class LoadMeter:
    """Processor time of this process since it was made, and the machine's load."""

    def __init__(self) -> None:
        """Start counting."""
        self._cpu_began_s = time.process_time()
        self._began_s = time.monotonic()
        self._asked_before = False
        self._taken = (self._began_s, 0.0)

    @property
    def cpu_s(self) -> float:
        """Processor seconds of this process."""
        return time.process_time() - self._cpu_began_s

    @property
    def cpu_percent(self) -> float:
        """Processor time as a share of the time passed; 100 is one core."""
        passed_s = time.monotonic() - self._began_s
        return 100 * self.cpu_s / passed_s if passed_s > 0 else 0.0

    def take_cpu_percent(self) -> float:
        """Return the same of the time since the last call, or since it was made."""
        now, cpu_s = time.monotonic(), self.cpu_s
        (then, before_s), self._taken = self._taken, (now, cpu_s)
        return 100 * (cpu_s - before_s) / (now - then) if now > then else 0.0

    def machine_share(self) -> float | None:
        """Return the share of the machine's processors in use since the last call, 0 to 1.

        The first call returns None: there is nothing before it.
        """
        # Takes 20 ms to load, for which the first frame need not wait.
        import psutil

        share = psutil.cpu_percent() / 100
        asked_before, self._asked_before = self._asked_before, True
        return share if asked_before else None

    @staticmethod
    def memory_bytes() -> int:
        """Return what this process holds in memory now."""
        import psutil

        return int(psutil.Process().memory_info().rss)

    @staticmethod
    def temperature_c() -> float | None:
        """Return what the hottest sensor of the machine shows, in degrees Celsius; None without."""
        import psutil

        if not hasattr(psutil, "sensors_temperatures"):
            return None
        sensors = psutil.sensors_temperatures().values()
        return max((each.current for group in sensors for each in group), default=None)

    @staticmethod
    def peak_rss_bytes() -> int:
        """Return the most memory that this process has held."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Linux counts kibibytes, macOS bytes.
        return peak if sys.platform == "darwin" else peak * 1024
