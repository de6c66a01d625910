"""Our scheduler against a plain rule and every fixed split, on the real programs. Needs root.

``./run bench scheduler`` runs it; `__main__` says what is measured, and how.
"""
