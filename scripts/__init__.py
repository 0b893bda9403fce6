"""Programs for those who work on Tael."""
