"""Ball tracking: the example that the project measures itself with.

``sequential.py`` is the plain loop one starts with, ``taskified.py`` the same work as seven tasks
that can be split between a device and the cloud, ``sources.py`` what they look at, and ``scene.py``
a synthetic scene for when there is no camera.

    python3 -m ball_tracking_example.sequential synthetic:640x480
    python3 iot_client_coordinator.py --app ball_tracking_example --source camera:0
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from task_interface import Pipeline

__all__ = ["make_pipeline"]


def make_pipeline(source: str | None) -> "Pipeline":
    """Build the seven tasks on ``source``; see ``taskified.make_pipeline``.

    Args:
        source: What to look at (see ``sources.make_source``), or None where frames come from
            elsewhere.

    Raises:
        LoadingError: ``source`` is not one that this app knows, or is a file that cannot be read.
    """
    # The plain loop lives in this package too, and should not load the pipeline to run.
    from ball_tracking_example import taskified

    return taskified.make_pipeline(source)
