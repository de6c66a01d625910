"""What happens in a run, as typed events: logs, metrics, traces and pages are views of them.

``events`` says what there is, ``form`` writes an event as a plain map and reads it with suspicion,
``history`` keeps the newest ones of each stream for whoever looks later. All of it is pure.
``recorder`` passes events on to their views, of which ``trace`` is one.
"""
