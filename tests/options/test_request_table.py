"""Table of wrong requests: each is refused at once, with a way out.

They are refused with exit code 2, before TensorFlow is imported and before data or
devices are read. Nothing is written.
"""

import builtins
import json
import pathlib
import shutil
import types

import numpy as np
import pytest

from bsce_keras import (
    compare,
    evaluate,
    export,
    forget,
    make_config,
    predict,
    report,
    reproduce,
    train,
    tune,
)

COMMANDS = {
    "train": train.main,
    "evaluate": evaluate.main,
    "export": export.main,
    "compare": compare.main,
    "forget": forget.main,
    "predict": predict.main,
    "report": report.main,
    "reproduce": reproduce.main,
    "tune": tune.main,
}
META = "--classification_loss=meta_balanced_softmax"
BALANCED = "--classification_loss=balanced_softmax"

# Arguments besides --dataset=digits, and a part of the expected message.
OF_DIGITS = [
    # Syntax of flags.
    ("--methd=lucir", "Unknown flag --methd. Did you mean --method"),
    ("--no-resume", "Unknown flag --no-resume. Did you mean --resume?"),
    ("-seed=3", "Unknown flag -seed. Did you mean --seed"),
    ("--seed", "--seed needs a value: an integer. Received: none"),
    ("--seed --resume", "--seed needs a value: an integer"),
    ("--seed=", "--seed must be an integer. Received: ''"),
    ("--seed=x", "--seed must be an integer. Received: 'x'"),
    ("--seed=1.0", "--seed must be an integer. Received: '1.0'"),
    ("--epochs=2.5", "--epochs must be an integer. Received: '2.5'"),
    ("--alpha=much", "--alpha must be a number. Received: 'much'"),
    ("--learning_rate=0,1", "--learning_rate must be a number. Received: '0,1'"),
    ("--resume=maybe", "--resume must be true or false. Received: 'maybe'"),
    ("--noresume=true", "--noresume takes no value. Received: --noresume=true"),
    ("--resume false", "Unexpected argument 'false'"),
    ("digits", "Unexpected argument 'digits': this command takes only flags"),
    ("--precision=bfloat16", "Received: 'bfloat16'. Did you mean mixed_bfloat16"),
    ("--method=IL_Baseline", "Did you mean il_baseline?"),
    ("--method=icarl2", "--method must be one of finetune"),
    ("--classification_loss=balanced", "Did you mean balanced_softmax?"),
    ("--strategy=miror", "Did you mean mirrored?"),
    ("--exemplar_selection=best", "one of herding, random"),
    ("--on_bad_image=ignore", "one of error, skip"),
    ("--flagfile=nowhere", "--flagfile=nowhere cannot be read: No such file"),
    ("--flagfile=given", "--flagfile=given cannot be read: Is a directory"),
    (
        "--flagfile=given/bytes",
        "--flagfile=given/bytes cannot be read: it is not UTF-8",
    ),
    ("--flagfile=given/itself", "includes itself: given/itself -> given/itself"),
    ("--flagfile=given/nul", "cannot be read: embedded null byte"),
    # Numbers out of range.
    ("--epochs=0", "--epochs must be a finite number above 0. Received: 0"),
    ("--epochs=-3", "--epochs must be a finite number above 0. Received: -3"),
    ("--epochs=" + "9" * 400, "--epochs must be an integer of at most 64 bits."),
    ("--batch_size=0", "--batch_size must be a finite number above 0. Received: 0"),
    ("--batch_size=" + "9" * 30, "--batch_size must be an integer of at most 64 bits."),
    ("--learning_rate=0", "--learning_rate must be a finite number above 0"),
    ("--learning_rate=inf", "--learning_rate must be a finite number above 0"),
    ("--learning_rate=nan", "--learning_rate must be a finite number above 0"),
    ("--weight_decay=-1", "--weight_decay must be 0 or more. Received: -1.0"),
    ("--weight_decay=nan", "--weight_decay must be 0 or more. Received: nan"),
    ("--schedule_scale=0", "--schedule_scale must be a finite number above 0"),
    ("--schedule_scale=nan", "--schedule_scale must be a finite number above 0"),
    ("--schedule_scale=1e308", "--schedule_scale must be at most 1000"),
    ("--seed=-1", "--seed must be in [0, 2**31). Received: -1"),
    ("--seed=2147483648", "--seed must be in [0, 2**31). Received: 2147483648"),
    ("--exemplars_per_class=-1", "--exemplars_per_class must be 0 or more"),
    ("--memory_budget=-1", "--memory_budget must be 0 or more. Received: -1"),
    ("--virtual_devices=-1", "--virtual_devices must be 0 or more. Received: -1"),
    ("--virtual_devices=65 --batch_size=99", "at most 64 parts. Received: 65"),
    (f"{BALANCED} --alpha=0", "--alpha must be a finite number above 0"),
    (f"{BALANCED} --alpha=inf", "--alpha must be a finite number above 0"),
    (f"{META} --alpha_every=0", "--alpha_every must be a finite number above 0"),
    (f"{META} --alpha_learning_rate=-1", "--alpha_learning_rate must be a finite"),
    (f"{META} --alpha_optimizer=rmsprop", "--alpha_optimizer must be one of adam, sgd"),
    (f"{META} --meta_gradient=closed", "Did you mean closed_form?"),
    # The stream of classes.
    ("--num_base_classes=0", "--num_base_classes must be at least 1. Received: 0"),
    ("--num_base_classes=11", "need 11 classes, but digits has 10"),
    ("--num_increments=3", "--num_increments=3 does not divide the 5 classes left"),
    ("--num_increments=-1", "Numbers of increments that divide them: 1, 5."),
    ("--num_base_classes=10 --num_increments=1", "the 0 classes left"),
    (
        "--class_order=lucr",
        "Received: 'lucr', which is not a file. Did you mean lucir?",
    ),
    ("--class_order=icarl", "is defined for 100 classes only. Received: 10"),
    ("--class_order=seed:x", "needs an integer N in [0, 2**32), such as seed:7"),
    ("--class_order=seed:" + "9" * 5000, "needs an integer N in [0, 2**32)"),
    ("--class_order=given", "Received: 'given', which is not a file"),
    ("--class_order=" + "x" * 5000, "which is not a file"),
    ("--class_order=", "--class_order must be one non-empty line of UTF-8 text"),
    ("--class_order=given/bytes", "must be UTF-8 text with one class name or id"),
    ("--class_order=given/short", "missing: 3, 4, 5, 6, 7, 8, 9."),
    ("--class_order=given/twice", "repeated: 0, 1."),
    ("--class_order=given/invented", "unknown: ten."),
    ("--class_order=given/long", "unknown: 99999"),
    ("--class_order=given/empty", "missing: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."),
    # Options that exclude each other or are not supported.
    ("--exemplars_per_class=2 --memory_budget=20", "Received: 2 and 20"),
    ("--epochs=4 --schedule_scale=0.5", "has no effect. Set only one of them"),
    ("--alpha=0.5", "--alpha=0.5 has no effect with --classification_loss=softmax"),
    (f"{META} --alpha=0.5", "which learns alpha, starting at 1. Omit --alpha"),
    (f"{META} --alpha_optimizer=held --alpha=0", "--alpha must be a finite number"),
    (
        f"{META} --alpha_optimizer=held --alpha_learning_rate=1",
        "--alpha_learning_rate=1.0 has no effect with --alpha_optimizer=held",
    ),
    (f"{META} --alpha_statistics=none", "--alpha_statistics must be one of batch, "),
    (f"{BALANCED} --alpha_statistics=batch", "use --classification_loss=meta_balanced"),
    ("--method=tpcil --exemplar_selection=random", "its own selection of exemplars"),
    ("--alpha_every=5", "has no effect with --classification_loss=softmax"),
    ("--replay_sampling=old", "one of uniform, memory_oversampling"),
    (
        "--classification_loss=separated_softmax",
        "separated_softmax compares new classes only with each other, so every "
        "increment needs at least 2 new classes. Received: increments of "
        "[1, 1, 1, 1, 1]",
    ),
    (
        f"--replay_sampling=class_oversampling {BALANCED}",
        "--classification_loss=balanced_softmax corrects for",
    ),
    (
        "--replay_sampling=memory_oversampling --classification_loss=rescaled_softmax",
        "--classification_loss=rescaled_softmax corrects for",
    ),
    (
        "--replay_sampling=memory_oversampling --exemplars_per_class=0",
        "--replay_sampling=memory_oversampling draws old images more often, but the "
        "memory holds none",
    ),
    (
        "--alpha=0.5 --num_increments=1 --classification_loss=separated_softmax",
        "--alpha=0.5 has no effect with --classification_loss=separated_softmax",
    ),
    (
        "--method=icarl --exemplars_per_class=0",
        "--method=icarl classifies by exemplars, so it needs at least 1 of every class",
    ),
    (
        "--method=bic --memory_budget=19",
        "--method=bic trains on exemplars and corrects its head by others, so it needs "
        "at least 2 of every class. The memory holds 1",
    ),
    (f"--method=bic {BALANCED}", "so it excludes --classification_loss="),
    ("--method=joint --memory_budget=50", "trains on all images of all seen classes"),
    ("--method=joint --exemplar_selection=random", "has no effect with --method=joint"),
    (
        f"--method=joint {META}",
        "--classification_loss=meta_balanced_softmax has no effect with --method=joint",
    ),
    (
        f"--method=joint --alpha=0.5 {BALANCED}",
        "--alpha=0.5 has no effect with --method=joint",
    ),
    (
        "--method=joint --balanced_finetuning=true",
        "--balanced_finetuning=true has no effect with --method=joint",
    ),
    ("--method=bic --balanced_finetuning=true", "Use --method=il_baseline with it"),
    (f"{BALANCED} --alpha_optimizer=adam", "use --classification_loss=meta_balanced"),
    (f"{META} --exemplars_per_class=1", "at least 2 exemplars a class"),
    (f"{META} --memory_budget=17", "at least 2 exemplars a class"),
    (f"{META} --precision=mixed_float16", "Use --precision=mixed_bfloat16"),
    ("--virtual_devices=2 --strategy=one_device", "Use --strategy=mirrored"),
    ("--virtual_devices=4 --batch_size=2", "--batch_size=2 is the size over all"),
    (
        "--strategy=multi_worker",
        "multi_worker needs the environment variable",
    ),
    (
        "--strategy=multi_worker --virtual_devices=2",
        "--virtual_devices=2 contradicts --strategy=multi_worker",
    ),
    (
        "--strategy=multi_worker --precision=mixed_float16",
        "Use --precision=mixed_bfloat16",
    ),
    ("--backbone=resnet34", "Did you mean resnet32"),
    ("--backbone=", "--backbone must be one non-empty line of UTF-8 text"),
    ("--backbone=keras_hub:resnet_50", "resnet_50 is not a folder"),
    ("--backbone=given/none.keras", "given/none.keras cannot be read: No such file"),
    ("--backbone=given/none.keras --method=podnet", "--method=podnet needs a backbone"),
    (
        "--backbone=given/none.keras --synchronized_batch_norm",
        "--synchronized_batch_norm needs a backbone of this package",
    ),
    ("--image_size=32", "--image_size is for `folder` and `tfds:NAME`"),
    ("--data_dir=given", "--data_dir=given has no effect with --dataset=digits"),
    ("--download", "--download has no effect with --dataset=digits"),
    ("--cache_dir=x", "--cache_dir=x has no effect with --dataset=digits, which are"),
    ("--on_bad_image=skip", "--on_bad_image=skip has no effect with --dataset=digits"),
    (
        "--noexport --export_formats=keras",
        "--export_formats=keras has no effect with --noexport. Use --export",
    ),
    (
        "--exemplars_per_class=0 --exemplar_selection=random",
        "--exemplar_selection=random has no effect without exemplars",
    ),
    ("--method=lwf --exemplar_selection=random", "no effect without exemplars"),
    # Classifiers that become the base step.
    ("--initial_classes=1,2", "--initial_classes has no effect without"),
    ("--initial_model=m --class_order=lucir", "--class_order=lucir contradicts"),
    ("--initial_model=m --backbone=resnet20", "--backbone=resnet20 contradicts"),
    ("--initial_model=m --base_run_dir=b", "--base_run_dir=b contradicts --initial_mo"),
    # Run folders.
    ("--run_dir=given/short", "given/short is a file. Name a new folder, or that of a"),
    ("--run_dir=given/short/run", "given/short is a file. Name a new folder"),
    ("--run_dir=" + "x" * 300, "cannot be made: File name too long"),
    ("--run_dir=\udcff", "--run_dir must be one non-empty line of UTF-8 text"),
    ("--run_dir=", "--run_dir must be one non-empty line of UTF-8 text"),
    ("--base_run_dir=nowhere", "is not a run folder, because it holds no config.json"),
    ("--base_run_dir=given/begun", "has not finished its base step yet"),
    ("--base_run_dir=given/begun --run_dir=given/begun", "is --run_dir itself"),
]
OTHERS = [
    # Data sets.
    ("train", "", "--dataset is required: digits, cifar10"),
    ("train", "--dataset=", "--dataset must be one non-empty line of UTF-8 text"),
    ("train", "--dataset=digit", "Received: 'digit'. Did you mean digits?"),
    ("train", "--dataset=CIFAR100", "Received: 'CIFAR100'"),
    ("train", "--dataset=mnist", "Data sets that only TFDS knows are written tfds:"),
    ("train", "--dataset=imagenet2012 --data_dir=given", "ILSVRC2012_img_train.tar"),
    ("train", "--dataset=subimagenet --data_dir=given", "a prepared copy of imagenet"),
    ("train", "--dataset=tfds:", "needs the name of a TFDS data set"),
    ("train", "--dataset=tfds:../x", "needs the name of a TFDS data set"),
    ("train", "--dataset=tfds:mnist --data_dir=given", "a prepared copy of mnist"),
    ("train", "--dataset=cifar100 --data_dir=given", "or --download to fetch it"),
    ("train", "--dataset=cifar10 --data_dir=" + "x" * 300, "File name too long"),
    (
        "train",
        "--dataset=cifar100 --data_dir=given --on_bad_image=skip",
        "--on_bad_image=skip has no effect with --dataset=cifar100, whose prepared",
    ),
    ("train", "--dataset=folder", "--dataset=folder needs --data_dir=DIR"),
    ("train", "--dataset=folder --data_dir=", "--data_dir must be one non-empty line"),
    (
        "train",
        "--dataset=folder --data_dir=nowhere",
        "--data_dir=nowhere is not a folder. Check its name.",
    ),
    (
        "train",
        "--dataset=folder --data_dir=given/bytes",
        "--data_dir=given/bytes is not a folder. Check its name.",
    ),
    (
        "train",
        "--dataset=folder --data_dir=given/photos/train/cat --validation_share=0.2",
        "(or CLASS/* with --validation_share)",
    ),
    (
        "train",
        "--dataset=folder --data_dir=given/no_classes",
        "train must hold one folder per class. Received: 0 folders.",
    ),
    ("train", "--dataset=folder --data_dir=given/empty_class", "train without any: "),
    (
        "train",
        "--dataset=folder --data_dir=given/empty_class",
        "Missing in train/: dog",
    ),
    ("train", "--dataset=folder --data_dir=given/photos --image_size=3", "8 to 4096"),
    ("train", "--dataset=folder --data_dir=given/photos --image_size=9999", "to 4096"),
    (
        "train",
        "--dataset=folder --data_dir=given/photos --download",
        "nothing to fetch",
    ),
    (
        "train",
        "--dataset=folder --data_dir=given/photos --cache_dir=given/short",
        "--cache_dir=given/short cannot be made",
    ),
    (
        "train",
        "--dataset=folder --cache_dir=",
        "--cache_dir must be one non-empty line",
    ),
    # Folders and files of something else.
    ("train", "--dataset=digits --run_dir=/proc/x", "--run_dir=/proc/x cannot be made"),
    (
        "train",
        "--dataset=digits --run_dir=given/seed_2",
        "--seed (training.seed) was 2, now 1",
    ),
    (
        "train",
        "--dataset=digits --backbone=given/text.keras",
        "given/text.keras is not a model that Keras 3 saved",
    ),
    (
        "train",
        "--flagfile=given/text.keras",
        "is not a flagfile: it holds the line 'Some text'",
    ),
    # The other commands.
    ("evaluate", "", "Received: neither"),
    ("evaluate", "--run_dir=r --model=m", "Received: both"),
    ("evaluate", "--run_dir=nowhere", "nowhere is not a run folder"),
    ("evaluate", "--run_dir=nowhere --dataset=digits", "--dataset is for --model"),
    ("evaluate", "--run_dir=given/torn", "given/torn/config.json is damaged"),
    ("evaluate", "--run_dir=given/list", "given/list/config.json is damaged"),
    ("evaluate", "--model=nowhere", "--model needs --dataset"),
    ("evaluate", "--model=nowhere --dataset=digit", "Did you mean digits?"),
    ("evaluate", "--model=nowhere --dataset=digits", "There is no folder nowhere"),
    ("evaluate", "--model=given --dataset=digits", "There is no model in given"),
    ("evaluate", "--run_dir=r --batch_size=0", "--batch_size must be at least 1"),
    ("evaluate", "--run_dir=r --alpha=", "--alpha must be positive numbers"),
    (
        "evaluate",
        "--model=nowhere --dataset=digits --data_dir=given",
        "--data_dir=given has no effect with --dataset=digits",
    ),
    (
        "evaluate",
        "--run_dir=given/untrained --on_bad_image=skip",
        "--on_bad_image=skip has no effect with --dataset=digits",
    ),
    ("evaluate", "--run_dir=given/arrays", "Name other images by --dataset"),
    ("evaluate", "--modle=m", "Did you mean --model?"),
    ("evaluate", "--run_dir=r --cache_dir=given/short", "given/short is a file"),
    ("predict", "", "Expected at least one FILE. Received: none"),
    ("predict", "--model=nowhere a.jpg", "There is no folder nowhere"),
    ("predict", "a.jpg", "--model is required: the folder of an exported step"),
    ("predict", "--model=given/short a.jpg", "--model must be the folder of an"),
    ("predict", "--model=m nowhere.jpg", "There is no file nowhere.jpg"),
    ("predict", "--modle=m nowhere.jpg", "There is no file nowhere.jpg"),
    ("predict", "--model=m given", "Received the folder given: give given/*"),
    ("predict", "--model=m --top_k=0 a.jpg", "--top_k must be at least 1. Received: 0"),
    ("predict", "--model=m --embedding=a.txt a.jpg", "must be a file NAME.npy in an"),
    ("predict", "--model=m --embedding=x/a.npy a.jpg", "must be a file NAME.npy in an"),
    ("predict", "--model=m --format=xml a.jpg", "one of text, json. Received: 'xml'"),
    ("report", "", "Expected at least one RUN_DIR. Received: none"),
    ("report", "nowhere", "nowhere is not a run folder: it has no config.json"),
    ("report", "given/torn", "given/torn/config.json is damaged"),
    ("report", "given/list", "given/list/config.json is damaged"),
    ("report", "--format=html given/run", "one of text, markdown"),
    ("report", "--outptu=x given/run", "Did you mean --output?"),
    ("report", "--outptu=x nowhere", "nowhere is not a run folder"),
    ("report", "--output=given/short nowhere", "must name a folder. Received the file"),
    ("report", "--output=given/short nowhere", "nowhere is not a run folder"),
    ("compare", "given nowhere --output=given/short", "--output must name a folder"),
    ("export", "--run_dir=nowhere --output=given/short/x", "given/short is a file"),
    ("forget", "--output=given/short", "--output must name a folder"),
    ("forget", "--output=given", "given is not empty. Name another --output."),
    ("compare", "", "Expected at least one MODEL. Received: none"),
    ("compare", "nowhere", "Expected two models, OLD and NEW"),
    ("compare", "nowhere given", "There is no folder nowhere"),
    ("compare", "given nowhere --max_drop=-1", "--max_drop must be at least 0"),
    (
        "compare",
        "given nowhere --max_drop=nan",
        "--max_drop must be a number of points",
    ),
    (
        "compare",
        "given nowhere --min_gain=101",
        "--min_gain must be a number of points",
    ),
    ("compare", "given nowhere --min_images=0", "--min_images must be at least 1"),
    ("compare", "given nowhere --max_dropp=1", "There is no folder nowhere"),
    ("forget", "--run_dir=nowhere", "--classes=NAME,... is required"),
    ("forget", "--classes=1", "--run_dir=RUN is required"),
    ("forget", "--classes=1 --run_dir=nowhere", "nowhere is not a run folder"),
    (
        "forget",
        "--classes=1 --run_dir=given/untrained",
        "--method=il_baseline cannot forget classes: all its weights depend",
    ),
    (
        "forget",
        "--classes=ten --run_dir=given/untrained",
        "--classes: the run has no class 'ten'",
    ),
    (
        "forget",
        "--classes=1 --run_dir=given/untrained --data_dir=x",
        "--data_dir=x has no effect with --dataset=digits",
    ),
    ("reproduce", "", "Expected at least one FLAGFILE. Received: none"),
    ("reproduce", "nowhere.flags", "nowhere.flags is neither a flagfile nor a recipe"),
    ("reproduce", "given", "--flagfile=given cannot be read: Is a directory"),
    ("export", "--run_dir=given/untrained --step=9", "--step=9 is not a finished step"),
    ("export", "--run_dir=given/untrained", "given/untrained, which has 0"),
    ("export", "--run_dir=nowhere --output=given", "--output must be a new folder or"),
    ("export", "--run_dir=nowhere --output=x --alpha=0", "must be a positive number"),
    ("export", "--run_dir=nowhere --output=x --alpha=nan", "must be a positive number"),
    ("train", "--dataset=digits --method=nowhere:Mine", "No module named 'nowhere'"),
    ("train", "--dataset=digits --method=given.own:Miner", "Did you mean Mine?"),
    ("train", "--dataset=digits --method=given.torn_module:My", "was never closed"),
    ("reproduce", "given/own.flags", "--seed follows from --seeds"),
    ("reproduce", "given/own.flags", "--lerning_rate. Did you mean --learning_rate"),
    ("reproduce", "--seeds= given/digits.flags", "--seeds must be different whole"),
    ("reproduce", "--seeds=1,1 given/digits.flags", "--seeds must be different whole"),
    ("reproduce", "--seeds=1-3 given/digits.flags", "Received: '1-3'"),
    ("reproduce", "--seeds=" + "9" * 5000 + " given/digits.flags", "such as 1,2,3"),
    ("reproduce", "--seeds=" + "9" * 15 + " given/digits.flags", "--seed must be in"),
    ("reproduce", "--runs_dir=given/short given/digits.flags", "given/short is a file"),
    (
        "reproduce",
        "--export_formats=keras given/digits.flags",
        "has no effect with --noexport. Use --export",
    ),
    ("reproduce", "--cache_dir=x given/digits.flags", "--cache_dir=x has no effect"),
    ("reproduce", "--schedule_scale=0 given/digits.flags", "--schedule_scale must be"),
    ("reproduce", "--precision=float given/digits.flags", "Did you mean float32?"),
    ("tune", "", "--dataset is required"),
    *(
        ("tune", f"--dataset=digits {arguments}", fragment)
        for arguments, fragment in (
            ("--alphas=", "--alphas must be different numbers separated by commas"),
            ("--alphas=1,1", "such as 0.1:1. Received: '1,1'"),
            ("--alphas=1:0.1", "a range of numbers above 0, such as 0.1:1. Received"),
            ("--alphas=0:1 --search=random", "a range of numbers above 0"),
            (
                "--alphas=0.5,-1",
                "--alpha must be a finite number above 0. Received: -1",
            ),
            ("--learning_rates=0.1,0", "--learning_rate must be a finite number above"),
            ("--alphas=0.1:1", "--search=grid needs lists of numbers, not a range"),
            ("--alpha=1", "Unknown flag --alpha. It is a flag of train and evaluate"),
            (
                "--learning_rate=1 --learning_rates=1,2",
                "Set either --learning_rate, for all trials, or",
            ),
            ("--classification_loss=softmax", "Nothing to search. Give --alphas"),
            (
                "--classification_loss=softmax --alphas=1",
                "--alpha=1.0 has no effect with --classification_loss=softmax",
            ),
            ("--validation_share=0", "a search must not use test images"),
            ("--validation_share=1", "--validation_share must be at least 0 and below"),
            ("--max_trials=0", "--max_trials must be at least 1. Received: 0"),
            ("--seeds=1,1", "--seeds must be different whole"),
            ("--seeds=5000000000", "--seed must be in [0, 2**31)"),
            ("--cache_dir=x", "--cache_dir=x has no effect with --dataset=digits"),
            ("--num_increments=0", "has no old classes that alpha could weigh"),
            ("--runs_dir=given/short", "given/short is a file"),
            ("--search=grit", "--search must be one of grid, random, bayesian"),
        )
    ),
]
TABLE = [
    ("train", f"--dataset=digits {arguments}", fragment)
    for arguments, fragment in OF_DIGITS
] + OTHERS


def split(arguments):
    """Splits a command line whose arguments do not contain spaces."""
    return [argument for argument in arguments.split(" ") if argument]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Folder with the files that the requests name."""
    folder = tmp_path_factory.mktemp("requests")
    root = folder / "given"
    (root / "begun").mkdir(parents=True)
    for name in ("begun", "torn", "list"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "config.json").write_text("{}")
        (root / name / "steps.jsonl").touch()
    (root / "torn/config.json").write_text('{"stream": {')
    (root / "list/config.json").write_text("[]")
    (root / "seed_2").mkdir()
    config = make_config("digits", seed=2, precision="float32").to_json()
    (root / "seed_2/config.json").write_text(json.dumps(config))
    (root / "untrained").mkdir()
    config = make_config("digits", precision="float32").to_json()
    (root / "untrained/config.json").write_text(json.dumps(config))
    (root / "untrained/steps.jsonl").touch()
    (root / "arrays").mkdir()
    images = np.zeros((8, 8, 8, 3), np.uint8), np.repeat(np.arange(4), 2)
    config = make_config(images, validation_share=0.5, run_dir=root / "arrays")
    (root / "arrays/config.json").write_text(json.dumps(config.to_json()))
    (root / "arrays/steps.jsonl").touch()
    (root / "own.py").write_text("import keras\n\nclass Mine: pass\n")
    (root / "torn_module.py").write_text("class My(\n")
    (root / "text.keras").write_text("# A title\n\nSome text\n")
    (root / "bytes").write_bytes(b"\xff\xfe\x00")
    (root / "nul").write_text("--flagfile=a\0b\n")
    (root / "itself").write_text("--flagfile=given/itself\n")
    (root / "digits.flags").write_text("--dataset=digits\n")
    (root / "own.flags").write_text("--dataset=digits\n--seed=1\n--lerning_rate=1\n")
    (root / "empty").touch()
    (root / "short").write_text("0\n1\n2\n")
    (root / "twice").write_text("0\n1\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")
    (root / "invented").write_text("0\n1\n2\n3\n4\n5\n6\n7\n8\nten\n")
    (root / "long").write_text("9" * 5000)
    for path in ("train/cat", "train/ant", "test/cat", "test/ant"):
        (root / "photos" / path).mkdir(parents=True)
        (root / "photos" / path / "1.png").write_bytes(b"never decoded here")
    (root / "no_classes/train").mkdir(parents=True)
    shutil.copytree(root / "photos", root / "empty_class")
    (root / "empty_class/train/ant/1.png").unlink()
    (root / "empty_class/test/dog").mkdir()
    return folder


@pytest.fixture
def watched(given, monkeypatch):
    """Working directory of the requests, without access to TensorFlow or images."""
    monkeypatch.chdir(given)
    original = builtins.__import__
    heavy = ("tensorflow", "keras", "bsce_keras.data.datasets", "bsce_keras.experiment")

    def refuse(name, *args, **kwargs):
        if name.startswith(heavy):
            raise AssertionError(f"a wrong request imported {name}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    return given


def everything_below(folder):
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(folder).rglob("*")}


@pytest.mark.parametrize(("command", "arguments", "fragment"), TABLE)
def test_a_wrong_request_is_refused(command, arguments, fragment, watched, capsys):
    before = everything_below(watched)
    assert COMMANDS[command](split(arguments)) == 2
    output = capsys.readouterr()
    assert fragment in output.err
    *problems, hint = output.err.splitlines()
    assert hint.endswith(f"`python -m bsce_keras.{command} --help` lists every flag")
    assert all(line.startswith(f"bsce_keras.{command}: ") for line in problems)
    assert output.out == ""
    assert everything_below(watched) == before


def test_alpha_of_a_step_without_old_classes_is_refused(monkeypatch, capsys):
    run = types.SimpleNamespace(steps=[{"num_old_classes": 0}])
    monkeypatch.setattr(export, "read_run", lambda _: run)
    flags = ["--run_dir=run", "--step=0", "--alpha=2", "--output=moved"]
    assert export.main(flags) == 2
    assert "--alpha=2 has no effect on step 0" in capsys.readouterr().err


def test_wrong_requests_do_not_import_tensorflow(run_python, given):
    code = f"""
import contextlib, io, sys
import importlib
commands = {{name: importlib.import_module(f"bsce_keras.{{name}}").main
            for name in {list(COMMANDS)!r}}}
with contextlib.redirect_stderr(io.StringIO()):
    for command, arguments in {[(c, split(a)) for c, a, _ in TABLE]!r}:
        assert commands[command](arguments) == 2, arguments
heavy = {{"tensorflow", "keras", "tensorflow_datasets", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    run_python(code, cwd=given)
