"""Spans of time as people read them."""


def clock(seconds):
    """Minutes and seconds, or hours, minutes and seconds.

    >>> clock(80), clock(3680)
    ('1:20', '1:01:20')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
    )
