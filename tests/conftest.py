"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No deadline: how long an example takes says more of what else runs than of the code. A failure
# prints what brings the same example back.
settings.register_profile("tael", deadline=None, print_blob=True)
settings.load_profile("tael")
