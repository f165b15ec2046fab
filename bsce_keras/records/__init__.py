"""The run folder: configuration, checkpoints and records of a run."""
