"""Text of Markdown pages, without code."""

import re


def lines_outside_code(lines):
    """Yields `(line number, text)` pairs outside code blocks.

    Inline code becomes one mark, and targets of links are left out.

    Args:
        lines: `(line number, text)` pairs.
    """
    is_code = False
    for line, text in lines:
        is_fence = text.startswith("```")
        is_code ^= is_fence
        if not (is_code or is_fence or text.startswith("    ")):
            yield line, re.sub(r"`[^`]*`|\]\([^)]*\)", "`", text)
