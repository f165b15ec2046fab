"""Properties that are declared beside every field of a configuration."""

import dataclasses

import pytest

from bsce_keras.config import SETTINGS
from bsce_keras.config.fields import setting, settings_by_name
from bsce_keras.options.command_line import define


@dataclasses.dataclass(frozen=True)
class Section:
    rate: float = 1.0
    seconds: float = setting(2.0, flag="save_seconds", decides_outcome=False)


@dataclasses.dataclass(frozen=True)
class Config:
    section: Section
    folder: str = setting(flag=None, decides_base_step=False)


def test_a_plain_field_is_set_by_its_flag_and_decides_everything():
    found = settings_by_name(Config)["section.rate"]
    assert (found.flag, found.default) == ("rate", 1.0)
    assert found.decides_outcome and found.decides_base_step


def test_a_field_that_does_not_decide_the_outcome_does_not_decide_the_base_step():
    found = settings_by_name(Config)["section.seconds"]
    assert found.flag == "save_seconds"
    assert not (found.decides_outcome or found.decides_base_step)


def test_a_field_may_decide_increments_only():
    found = settings_by_name(Config)["folder"]
    assert found.flag is None
    assert found.decides_outcome and not found.decides_base_step


@pytest.mark.parametrize("name", SETTINGS)
def test_every_flag_that_a_field_names_is_a_flag_of_train(name):
    found = SETTINGS[name]
    named = {found.flag, *found.part_flags.values()} - {None}
    assert named <= set(define("train"))
