"""Training programs with planted faults: how often the doctor names the right cause, and how often it cries wolf."""
