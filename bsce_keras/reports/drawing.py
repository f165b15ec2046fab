"""Parts that all figures share: colours, panels, and writing of PNG files."""

import functools
import io
import unicodedata

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from bsce_keras.runtime.files import write_atomically
from bsce_keras.runtime.text import printable

# Okabe and Ito: told apart by colour-blind readers, and in print with markers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Inches: width of all figures. A phone shows it on 370 pixels or so, where letters of a
# wider figure are too small.
WIDTH = 5.6
# Directions of Hebrew and of Arabic letters.
_LEFTWARD = {"R", "AL"}
# Characters of a name on an axis.
_LONGEST_NAME = 22


def panel(figure, place, ylabel):
    """Adds axes with a grid, whole numbers below and no frame on two sides."""
    axes = figure.add_subplot(place)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(ylabel)
    return axes


def names_on_axis(names):
    """Names cut to fit an axis; numbers for those that the font cannot draw.

    Matplotlib writes from left to right only, so that names in Arabic or Hebrew are
    numbers too.
    """
    return [
        _cut(printable(name)) if _is_drawable(printable(name)) else f"class {number}"
        for number, name in enumerate(names)
    ]


def save(figure, path):
    """Writes a figure as PNG.

    Text is never read as a formula. Letters that the font lacks are question marks.
    """
    for text in figure.findobj(Text):
        # Names come from users: a dollar sign is a dollar sign.
        text.set_parse_math(False)
        text.set_text(_with_known_letters(text.get_text()))
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, dpi=150, format="png")
    write_atomically(path, buffer.getbuffer())


def _cut(name):
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _with_known_letters(text):
    return "".join(
        letter if ord(letter) in _glyphs() or letter.isspace() else "?"
        for letter in text
    )


def _is_drawable(name):
    return all(
        ord(letter) in _glyphs() and unicodedata.bidirectional(letter) not in _LEFTWARD
        for letter in name
    )


@functools.cache
def _glyphs():
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
