"""Class counts as the losses take them: one per column of the logits."""


def require_count_per_column(of_classes, logits):
    """Refuses what was made of the counts of other classes than the logits are of.

    Args:
        of_classes: tensor of one number per class, made of `class_counts`.
        logits: shape `(batch, num_classes)`.

    Raises:
        ValueError: the numbers are fewer or more than the columns.
    """
    if of_classes.shape[0] != logits.shape[-1]:
        raise ValueError(
            "`class_counts` needs one count per column of the logits. Received: "
            f"{of_classes.shape[0]} counts for logits of shape {tuple(logits.shape)}. "
            "Give the counts of all seen classes, old ones included."
        )
