"""Figures of one run: paths by title, for its own report and for that of many."""

from bsce_keras.reports import confusion_figures, figures
from bsce_keras.reports.loss_figure import has_losses, loss_figure
from bsce_keras.reports.page import ACCURACY, ALPHA, LOGS, LOSSES, POSTHOC_ALPHA, SHARES


def draw_run(result, path_of, title=None):
    """Draws all figures of a run.

    Args:
        result: `RunResult` with at least one step.
        path_of: function from a name such as `confusion` to the PNG file to write.
        title: above the confusion matrices, if given.

    Returns:
        Paths by title. A run without a confusion matrix has no figure of it, and one
        that does not learn alpha none of alpha. Runs that trained nothing, and those
        of earlier versions, have none of the losses. Only runs with validation images
        have the curve over alphas after training.
    """
    pictures = {ACCURACY: path_of("accuracy")}
    figures.accuracy_of_run(result, pictures[ACCURACY])
    if result.confusion is not None:
        pictures[LOGS] = path_of("confusion")
        pictures[SHARES] = path_of("confusion_shares")
        confusion_figures.confusion_figure(result, pictures[LOGS], title)
        confusion_figures.share_figure(result, pictures[SHARES], title)
    if figures.learns_alpha(result):
        pictures[ALPHA] = path_of("alpha")
        figures.alpha_figure([result], pictures[ALPHA])
    if has_losses(result):
        pictures[LOSSES] = path_of("losses")
        loss_figure(result, pictures[LOSSES])
    if figures.has_posthoc_alpha(result):
        pictures[POSTHOC_ALPHA] = path_of("posthoc_alpha")
        figures.posthoc_alpha_figure(result, pictures[POSTHOC_ALPHA])
    return pictures
