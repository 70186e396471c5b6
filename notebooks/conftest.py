"""pytest runs the solved notebooks; the training at the end of the first is cut short there."""

import os

os.environ.setdefault("NOTEBOOK_UPDATES", "20")  # of 400: a minute
