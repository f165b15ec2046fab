"""Options of the commands, and the configuration that follows from them.

Imports no TensorFlow.
"""
