"""Process and machine: files, errors, signals, devices, workers.

This room does not depend on learning.
"""
