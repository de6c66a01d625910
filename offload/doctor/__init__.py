"""``python3 -m offload.doctor``: look at a device or a server before its first run.

``cli`` is the command and ``findings`` what all checks give. Of a device, ``machine``, ``apps``,
``tokens``, ``reaching`` and ``clock_and_link`` look at one thing each, ``trying`` runs the real
program, and ``forecasting`` says what to expect of it. ``server`` looks at a server's machine.
"""
