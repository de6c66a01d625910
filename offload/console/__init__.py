"""What people see on a terminal while a program runs: one live line, or a row for each device.

``text``, ``figures``, ``table``, ``device_line`` and ``server_rows`` make lines of text and are
pure; ``live`` keeps lines at the foot of a terminal, and ``views`` shows them what the recorder
records. Where there is no terminal, the programs' log lines say it all.
"""
