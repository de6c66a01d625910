"""Experiment files: from the text of one to an `Experiment`, and the older form to the new one."""
