"""Executing plans: the runner, its locks, and what it records."""

import logging

# Observers tell people of warnings; without this, Python would write them to the terminal, too.
logging.getLogger("pgflow.run").addHandler(logging.NullHandler())
