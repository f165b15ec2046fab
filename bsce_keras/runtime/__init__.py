"""Process and machine: files, errors, signals, devices, workers.

Knows nothing of learning.
"""
