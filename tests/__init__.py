"""Tests of Tael. The folders mirror the packages."""
