"""actkit from Python: functions that take texts and models in memory, each on top of the recipe of a command.

Names are found in `actkit` itself, which imports them when they are first used.
"""
