"""Cells of a matrix share base steps whose networks are equal."""

import json
import os
import pathlib
import sys
import types

from bsce_keras import reproduce
from bsce_keras.runtime.errors import RunError
from tests.reproduce.matrix import BALANCED, TINY, folders, write_flagfiles


def test_base_steps_are_shared_only_where_their_networks_are_equal(trained):
    paths = write_flagfiles(
        softmax=TINY,
        balanced=TINY + BALANCED,
        two_increments=TINY.replace("num_increments=1", "num_increments=2"),
        finetune=TINY + "--method=finetune\n",
        lucir=TINY + "--method=lucir\n",
        lucir_balanced=TINY + "--method=lucir\n" + BALANCED,
        # podnet's own loss differs for any number of images a class.
        podnet=TINY + "--method=podnet\n",
        podnet_balanced=TINY + "--method=podnet\n" + BALANCED,
        other_base=TINY.replace("=8", "=6"),
        more_memory=TINY + "--exemplars_per_class=7\n",
        # It sets images aside at the base step too, a tenth of the exemplars.
        bic=TINY + "--method=bic\n",
        bic_with_more=TINY + "--method=bic\n--exemplars_per_class=40\n",
    )
    assert reproduce.main(paths) == 0
    by_folder = dict(zip(folders(trained), trained, strict=True))
    bases = {
        name: by_folder[f"scale_1.0/tiny/{name}/seed_1"].base_run_dir
        for name in (pathlib.Path(path).stem for path in paths)
    }
    softmax, lucir = (
        f"runs/reproduce/scale_1.0/tiny/{name}/seed_1" for name in ("softmax", "lucir")
    )
    shared = dict.fromkeys(("balanced", "two_increments", "more_memory"), softmax)
    shared |= {"finetune": softmax, "lucir_balanced": lucir}
    assert bases == dict.fromkeys(bases) | shared


def test_every_seed_has_its_own_base_step(trained):
    paths = write_flagfiles(softmax=TINY, balanced=TINY + BALANCED)
    assert reproduce.main([*paths, "--seeds=1,2"]) == 0
    softmax = "runs/reproduce/scale_1.0/tiny/softmax/seed_{}"
    bases = [config.base_run_dir for config in trained]
    assert sorted(filter(None, bases)) == [softmax.format(1), softmax.format(2)]
    for config in trained:
        if config.base_run_dir:
            assert config.base_run_dir == softmax.format(config.training.seed)


def test_solved_heads_take_any_network_and_give_theirs_to_solved_heads(trained):
    acil = TINY + "--method=acil\n"
    paths = write_flagfiles(
        acil=acil,
        other_rate=acil + "--learning_rate=0.05\n",
        other_rate_wide=acil + "--learning_rate=0.05\n--expansion_size=99\n",
        other_rate_ds_al=TINY + "--method=ds_al\n--learning_rate=0.05\n",
        softmax=TINY,
    )
    assert reproduce.main(paths) == 0
    bases = {config.run_dir: config.base_run_dir for config in trained}
    folder = "runs/reproduce/scale_1.0/tiny/{}/seed_1"
    softmax = folder.format("softmax")
    other = folder.format("other_rate")
    assert bases == {
        softmax: None,
        folder.format("acil"): softmax,
        other: None,
        folder.format("other_rate_wide"): other,
        folder.format("other_rate_ds_al"): other,
    }
    # The cell that trains the network comes before the one that takes it.
    assert list(bases)[:2] == [softmax, folder.format("acil")]


def test_noshare_base_steps_trains_each(trained):
    paths = write_flagfiles(softmax=TINY, balanced=TINY + BALANCED)
    assert reproduce.main([*paths, "--noshare_base_steps"]) == 0
    assert [config.base_run_dir for config in trained] == [None, None]


def test_losses_do_not_share_if_class_sizes_may_differ(trained):
    for path in ("train/a", "train/b", "test/a"):
        os.makedirs(f"photos/{path}")
        pathlib.Path(f"photos/{path}/1.png").touch()
    flags = "--dataset=folder\n--data_dir=photos\n"
    paths = write_flagfiles(softmax=flags, balanced=flags + BALANCED)
    assert reproduce.main(paths) == 0
    assert [config.base_run_dir for config in trained] == [None, None]


def test_losses_that_are_equal_without_old_classes_share_the_base_step(trained):
    for name in "abcd":
        os.makedirs(f"photos/train/{name}")
        pathlib.Path(f"photos/train/{name}/1.png").touch()
    os.makedirs("photos/test/a")
    pathlib.Path("photos/test/a/1.png").touch()
    flags = "--dataset=folder\n--data_dir=photos\n--num_increments=1\n"
    paths = write_flagfiles(
        softmax=flags,
        separated=flags + "--classification_loss=separated_softmax\n",
        balanced=flags + BALANCED,
        rescaled=flags + "--classification_loss=rescaled_softmax\n",
    )
    assert reproduce.main(paths) == 0
    softmax = "runs/reproduce/scale_1.0/tiny/softmax/seed_1"
    assert [config.base_run_dir for config in trained] == [None, softmax, None, None]


def test_a_cell_waits_for_the_base_step_of_a_later_one(trained):
    """The later cell was killed in its base step, so it has to finish it."""
    soft, balanced = write_flagfiles(softmax=TINY, balanced=TINY + BALANCED)
    assert reproduce.main([balanced]) == 0
    folder = pathlib.Path("runs/reproduce/scale_1.0/tiny/balanced/seed_1")
    for name in ("summary.json", "checkpoints/step_00.json"):
        (folder / name).unlink()
    assert reproduce.main([soft, balanced]) == 0
    assert folders(trained[1:]) == [
        "scale_1.0/tiny/balanced/seed_1",
        "scale_1.0/tiny/softmax/seed_1",
    ]


def test_cells_fail_with_the_one_that_was_to_train_their_base_step(monkeypatch, capsys):
    def run_experiment(config, flagfile):
        raise RunError("no such luck")

    experiment = types.SimpleNamespace(run_experiment=run_experiment)
    monkeypatch.setitem(sys.modules, "bsce_keras.experiment", experiment)
    paths = write_flagfiles(softmax=TINY, balanced=TINY + BALANCED)
    assert reproduce.main(paths) == 1
    error = capsys.readouterr().err
    assert "tiny/softmax.flags, seed 1 failed: no such luck" in error
    assert "tiny/balanced.flags, seed 1 failed: its base step is that of" in error
    results = json.loads(pathlib.Path("runs/reproduce/results.json").read_text())
    assert [cell["error"] is None for cell in results["cells"]] == [False, False]
    assert [row["num_runs_wanted"] for row in results["rows"]] == [1, 1]
    assert results["rows"][0]["average_incremental_accuracy"]["mean"] is None
