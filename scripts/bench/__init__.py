"""Measurements. Each prints ratios or rates of one run; nothing here asserts a time."""
