"""The checkpoint of a step grows with its classes, not with their square."""

import re

from tools import class_growth


def test_the_checkpoint_of_a_step_grows_with_its_classes(capsys):
    class_growth.main(["100", "400"])
    lines = capsys.readouterr().out.splitlines()
    few, many = (float(re.search(r"checkpoint ([\d.]+) MB", line)[1]) for line in lines)
    assert many < 5 * few
