bsce_keras.train: --flagfile=flags/cifar100_5steps/nothere.flags cannot be read: No such file or directory
bsce_keras.train: --dataset is required: digits, cifar10, cifar100, folder or tfds:NAME
bsce_keras.train: `python -m bsce_keras.train --help` lists every flag
