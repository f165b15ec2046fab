"""Every published flagfile still asks for a valid experiment, the paper's one."""

import pathlib

import pytest

from bsce_keras import flags, make_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGFILES = sorted(ROOT.glob("flags/*/*.flags"))


@pytest.fixture
def prepared_cifar(tmp_path):
    """As much of a prepared CIFAR-100 as a request reads."""
    version = tmp_path / "cifar100" / "3.0.2"
    version.mkdir(parents=True)
    splits = '[{"name": "train"}, {"name": "test"}]'
    (version / "dataset_info.json").write_text(
        f'{{"name": "cifar100", "version": "3.0.2", "splits": {splits}}}'
    )
    (version / "label.labels.txt").write_text("\n".join(f"c{i:02}" for i in range(100)))
    return tmp_path


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_flagfile_is_a_valid_request(path, prepared_cifar):
    values, _, problems = flags.parse("train", [f"--flagfile={path}"])
    assert not problems
    request = flags.set_values(values)
    config = make_config(**request, data_dir=str(prepared_cifar))
    steps = int(path.parent.name.split("_")[1].removesuffix("steps"))
    assert len(config.stream.increments) == steps
    # Jodelet et al., 4.1.3: drops come from the recipe and must fit the epochs.
    assert config.training.milestones == (100, 150, 200)
    assert f"flags/{path.parent.name}/{path.name}" in path.read_text()


def test_there_are_flagfiles():
    assert len(FLAGFILES) >= 6
