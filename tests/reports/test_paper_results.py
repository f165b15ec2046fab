"""The paper's numbers are shown beside runs of the same experiment, and no others."""

import dataclasses

from bsce_keras.reports.paper_results import (
    TABLE_3,
    Cell,
    published_remarks,
)


def test_what_podnet_leaves_out_is_said_where_its_row_is_shown(config_of):
    [remark] = published_remarks([config_of(), config_of(method="podnet")])
    assert "brightness by 63/255" in remark and ".2675 .2565 .2761" in remark
    assert published_remarks([config_of(), config_of(method="lucir")]) == []


def test_the_cell_of_a_number_is_a_plain_value():
    cell = Cell("cifar100", 5, "il_baseline", "softmax")
    assert dataclasses.replace(cell, exemplars=5) in TABLE_3
