"""Schedules in the words of other schedulers."""
