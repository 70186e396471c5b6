"""pytest runs the solved notebooks; what the first one trains is cut short there."""

import os

os.environ.setdefault("NOTEBOOK_UPDATES", "20")  # of 400, four times
