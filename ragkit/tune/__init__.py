"""Tuning: rows, the loop, the tasks and the methods. The door is `ragkit/tuning.py`."""
