"""Disks that fail, and damaged files."""

import builtins
import contextlib
import errno
import os

import pytest

# The example run of tests/records.
from tests.records.conftest import make_config, make_record, make_run  # noqa: F401


class FailingDisk:
    """Disk that refuses every write from its n-th use on, or only the n-th.

    Uses are: opening a file to write, a write, a sync, a rename, a new folder, a
    removal. A refused write has written its first half.

    Args:
        monkeypatch: fixture of pytest.
    """

    # A full disk can still remove files.
    _NEEDS_NO_ROOM = {"unlink", "remove", "rmdir"}

    def __init__(self, monkeypatch):
        self._originals = {"open": builtins.open}
        self._code, self._first, self._last = errno.ENOSPC, 0, 0
        self._uses = 0
        self.was_reached = False
        for name in ("fsync", "replace", "mkdir", "unlink", "remove", "rmdir"):
            self._originals[name] = getattr(os, name)
            monkeypatch.setattr(os, name, self._guarded(name))
        monkeypatch.setattr(builtins, "open", self._open)

    @contextlib.contextmanager
    def failing(self, use, code=errno.ENOSPC, once=False):
        """Fails at a use, counted from 1, inside the `with`.

        `was_reached` is True afterwards if there were that many uses.
        """
        self._uses, self._code = 0, code
        self._first, self._last = use, use if once else float("inf")
        try:
            yield
        finally:
            self.was_reached = self._uses >= use
            self._first = 0

    def use(self, name, path=None):
        self._uses += 1
        fails = self._first and self._first <= self._uses <= self._last
        if fails and not (self._code == errno.ENOSPC and name in self._NEEDS_NO_ROOM):
            raise OSError(self._code, os.strerror(self._code), path)

    def _guarded(self, name):
        original = self._originals[name]

        def call(*args, **kwargs):
            self.use(name, None if name == "fsync" else os.fspath(args[0]))
            return original(*args, **kwargs)

        return call

    def _open(self, file, mode="r", *args, **kwargs):
        if not set(mode) & set("wax+") or file == os.devnull:
            return self._originals["open"](file, mode, *args, **kwargs)
        self.use("open", os.fspath(file))
        return _FailingFile(self._originals["open"](file, mode, *args, **kwargs), self)


class _FailingFile:
    """File on a `FailingDisk` that is open for writing."""

    def __init__(self, file, disk):
        self._file, self._disk = file, disk

    def write(self, data):
        try:
            self._disk.use("write")
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.fixture
def disk(monkeypatch):
    """The `FailingDisk` of a test, which works until `failing` is used."""
    return FailingDisk(monkeypatch)
