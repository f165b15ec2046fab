"""Growth: a student of all seen classes, started from the previous classifier."""

from bsce_keras.learner.own_heads import check_heads
from bsce_keras.methods import load_method
from bsce_keras.methods.own_methods import is_own
from bsce_keras.models.classifier import (
    backbone_of,
    build_classifier,
    check_pretrained,
    grow_classifier,
    head_of,
    make_backbone,
    preprocessing,
)
from bsce_keras.runtime.randomness import Purpose, integer


def new_classifier(config, variant, head):
    """Builds a classifier with random weights.

    Call it inside the strategy's scope.

    Args:
        config: `ExperimentConfig`.
        variant: variant of the backbone.
        head: head of the classifier.
    """
    image = config.stream.image
    return build_classifier(
        make_backbone(config.model, image, variant),
        head,
        image,
        preprocessing(config.model, image),
    )


def check_network(config):
    """Refuses a backbone or head that the run cannot use, without training anything.

    Args:
        config: `ExperimentConfig`.

    Raises:
        RequestError: the backbone cannot be loaded, does not fit images or classes, or
            has not the stages that the head takes; or `check_heads` refuses a head.
    """
    if config.model.is_pretrained:
        check_pretrained(config)
    method = load_method(config.method)
    if is_own(config.method.name):
        check_heads(config, method)
    head = method.make_head(0, 1)
    if getattr(head, "depths", 0):
        new_classifier(config, method.variant, head)


def with_other_head(config, method, head, old):
    """Returns a classifier with the backbone of another one and a new head.

    Call it inside the strategy's scope.

    Args:
        config: `ExperimentConfig`.
        method: the `Method`.
        head: the new head.
        old: classifier that has the backbone; None leaves the backbone as it came.
    """
    classifier = new_classifier(config, method.variant, head)
    if old is not None:
        backbone_of(classifier).set_weights(backbone_of(old).get_weights())
    return classifier


def grown_student(learner, step, pool):
    """Builds the student of a step: copies old weights, imprints new classes.

    Args:
        learner: the `Learner` after the previous step.
        step: the `Step`.
        pool: `Examples` to train on; new classes are imprinted from them.
    """
    config, method = learner.config, learner.method
    head = method.training_head(step.num_old_classes, step.num_new_classes)
    student = new_classifier(config, method.variant, head)
    if learner.classifier is None or method.starts_afresh:
        return student
    grow_classifier(student, learner.classifier)
    features_of_classes = (
        learner.features(pool.images[pool.labels == label])
        for label in range(step.num_old_classes, step.num_classes)
    )
    seed = integer(config.training.seed, Purpose.IMPRINTING, step.index)
    method.imprint(head_of(student), features_of_classes, seed)
    return student
