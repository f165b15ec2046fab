"""Fixtures of runs, shared with `tests/records`."""

from tests.records.conftest import make_config, make_record, make_run  # noqa: F401
