"""Metrics as tests look at them: one text for each value, as it stands on the page."""

from offload.metrics.families import Metrics


def readings(metrics: Metrics) -> dict[str, float]:
    """Return all values, by name and labels, such as ``offload_reason{reason="settled"}``."""
    found: dict[str, float] = {}
    for each in metrics.read():
        pairs = zip(each.family.labels, each.labels, strict=True)
        labels = ",".join(f'{name}="{value}"' for name, value in pairs)
        key = f"{each.family.name}{{{labels}}}" if labels else each.family.name
        assert key not in found, f"{key} is there twice"
        found[key] = each.value
    return found


def named(found: dict[str, float], name: str) -> dict[str, float]:
    """Return the values of one metric, by their labels."""
    return {
        key.removeprefix(name): value
        for key, value in found.items()
        if key.partition("{")[0] == name
    }
