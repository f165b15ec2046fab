"""States of finished steps, as few arrays and JSON.

Every checkpoint of a finished step carries the states of all steps so far. Vectors are
joined over the steps, so that their number does not grow with the steps.
"""

import json

import numpy as np

# Names of the arrays begin with it.
PREFIX = "states/"
# UTF-8 of the JSON parts of all states but the last one.
_EARLIER = f"{PREFIX}earlier"
# Entry of a JSON part: lengths of the vectors, by name.
_LENGTHS = "lengths"


def pack_states(states):
    """Returns states as named arrays and the JSON part of the last state.

    Args:
        states: list of dictionaries, at least one. Values are vectors, `np.ndarray` of
            one dimension, or JSON values.

    Returns:
        `(arrays, plain)`: arrays whose names begin with `PREFIX`, and a JSON value.
    """
    vectors, plain = {}, []
    for state in states:
        lengths, others = {}, {}
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                vectors.setdefault(name, []).append(value)
                lengths[name] = len(value)
            else:
                others[name] = value
        plain.append({**others, _LENGTHS: lengths})
    *earlier, last = plain
    arrays = {
        f"{PREFIX}{name}": np.concatenate(parts) for name, parts in vectors.items()
    }
    arrays[_EARLIER] = np.frombuffer(json.dumps(earlier).encode(), np.uint8)
    return arrays, last


def unpack_states(arrays, plain):
    """Returns the list of states that `pack_states` was given.

    Args:
        arrays: named arrays, others among them.
        plain: JSON part of the last state.

    Raises:
        LookupError, TypeError, ValueError: the arrays are not those of `pack_states`.
    """
    states = [*json.loads(arrays[_EARLIER].tobytes()), plain]
    ends = {}
    return [_with_vectors(dict(state), arrays, ends) for state in states]


def _with_vectors(state, arrays, ends):
    """Adds the vectors of a state; `ends` counts the values of earlier states."""
    for name, length in state.pop(_LENGTHS).items():
        end = ends.get(name, 0) + length
        vector = arrays[f"{PREFIX}{name}"][end - length : end]
        if vector.shape != (length,):
            raise ValueError(f"{name} has the shape {vector.shape}, not ({length},)")
        state[name], ends[name] = vector, end
    return state
