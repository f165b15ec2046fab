"""Variants: differences between the ResNets of the references."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Variant:
    """Details of the residual blocks; each of them affects results.

    Args:
        last_relu: the last block of the network ends with a ReLU.
        block_relu: other blocks that end with a ReLU: `all`, `none`, or
            `not_last_of_stage`.
        shortcut: `convolution`, down-sampling by a strided 1x1 convolution and batch
            normalisation, or `subsample`, by subsampling and zero channels.
        zero_gamma: the second normalisation of a block starts at gamma 0.
        wide_stem: stem of 3x3 stride 1 instead of 7x7 stride 2; only ImageNet
            networks.
    """

    last_relu: bool = True
    block_relu: str = "all"
    shortcut: str = "convolution"
    zero_gamma: bool = False
    wide_stem: bool = False

    def ends_with_relu(self, is_last_of_stage, is_last):
        """Returns True if a block ends with a ReLU after the addition."""
        if is_last:
            return self.last_relu
        if self.block_relu == "not_last_of_stage":
            return not is_last_of_stage
        return self.block_relu == "all"


CIFAR_VARIANTS = {
    "il_baseline": Variant(),
    "lucir": Variant(last_relu=False),
    "podnet": Variant(
        last_relu=False, block_relu="none", shortcut="subsample", zero_gamma=True
    ),
}

IMAGENET_VARIANTS = {
    "il_baseline": Variant(),
    "lucir": Variant(last_relu=False),
    "podnet": Variant(
        last_relu=False,
        block_relu="not_last_of_stage",
        zero_gamma=True,
        wide_stem=True,
    ),
}


def find_variant(variants, name):
    """Returns the variant called `name`; raises ValueError if it is unknown."""
    if name not in variants:
        raise ValueError(
            f"`variant` must be one of {', '.join(variants)}. Received: {name!r}"
        )
    return variants[name]
