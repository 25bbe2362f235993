"""Who builds the groups: processes on this machine, or a Ray cluster. Both run the same tasks.

An engine hands each task to whoever is free, tries again what was killed, and tells what happens.
"""
