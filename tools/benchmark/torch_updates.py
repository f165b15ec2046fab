"""The same networks and update in plain PyTorch, as in the reference code bases.

Needs torch. The benchmark runs without this module if torch is not installed.
"""

import torch
from torch import nn
from torch.nn import functional

from tools.benchmark.task import (
    LEARNING_RATE,
    MOMENTUM,
    NUM_NEW,
    NUM_OLD,
    WEIGHT_DECAY,
    random_batch,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_TEMPERATURE = 2.0


class Block(nn.Module):
    """Basic residual block, with a projection if the shape changes."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = _convolution(channels, filters, 3, stride)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = _convolution(filters, filters, 3)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Identity()
        if stride > 1 or channels != filters:
            self.shortcut = nn.Sequential(
                _convolution(channels, filters, 1, stride), nn.BatchNorm2d(filters)
            )

    def forward(self, inputs):
        outputs = functional.relu(self.norm1(self.conv1(inputs)), inplace=True)
        outputs = self.norm2(self.conv2(outputs))
        return functional.relu(outputs + self.shortcut(inputs), inplace=True)


def resnet32(num_classes):
    """Builds ResNet-32 for small images, as `bsce_keras.models.resnet32`."""
    stem = [_convolution(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    return _resnet(stem, 16, [(16, 5, 1), (32, 5, 2), (64, 5, 2)], num_classes)


def resnet18(num_classes):
    """Builds ResNet-18 for larger images, as `bsce_keras.models.resnet18`."""
    stem = [
        _convolution(3, 64, 7, 2),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    stages = [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)]
    return _resnet(stem, 64, stages, num_classes)


NETWORKS = {"resnet18": resnet18, "resnet32": resnet32}


def nchw_update(case, precision, teacher=False):
    """Returns an update in PyTorch's default layout, as in the reference code bases."""
    return _make_update(case, precision, teacher, torch.contiguous_format)


def channels_last_update(case, precision, teacher=False):
    """Returns an update in the layout that suits CPUs and tensor cores."""
    return _make_update(case, precision, teacher, torch.channels_last)


def _make_update(case, precision, teacher, layout):
    images, labels = _batch(case, layout)

    def make_model(num_classes):
        return NETWORKS[case.backbone](num_classes).to(DEVICE, memory_format=layout)

    num_classes = NUM_OLD + NUM_NEW if teacher else NUM_OLD
    model = make_model(num_classes).train()
    frozen = make_model(NUM_OLD).eval() if teacher else None
    share = NUM_OLD / num_classes
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    autocast = torch.autocast(
        DEVICE, torch.bfloat16, enabled=precision == "mixed_bfloat16"
    )

    def update():
        with autocast:
            logits = model(images)
        loss = functional.cross_entropy(logits.float(), labels)
        if frozen is not None:
            with torch.no_grad(), autocast:
                taught = frozen(images)
            loss = share * _distillation(logits, taught) + (1 - share) * loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return update


def _batch(case, layout):
    """Returns the random batch, normalised as by a data loader."""
    images, labels = random_batch(case)
    images = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(values).reshape(1, 3, 1, 1)
        for values in (case.image.mean, case.image.std)
    )
    images = ((images - mean) / std).contiguous(memory_format=layout)
    return images.to(DEVICE), torch.from_numpy(labels).long().to(DEVICE)


def _distillation(logits, taught):
    log_probabilities = functional.log_softmax(
        logits[:, : taught.shape[1]].float() / _TEMPERATURE, dim=1
    )
    target = functional.softmax(taught.float() / _TEMPERATURE, dim=1)
    return _TEMPERATURE**2 * -(target * log_probabilities).sum(1).mean()


def _resnet(stem, channels, stages, num_classes):
    layers = list(stem)
    for filters, num_blocks, stride in stages:
        for block in range(num_blocks):
            layers.append(Block(channels, filters, 1 if block else stride))
            channels = filters
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers, *pooled)


def _convolution(channels, filters, kernel_size, stride=1):
    return nn.Conv2d(
        channels, filters, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
