"""Many short texts in one: which of them hold a word is found at the speed of a search in memory, not at that of a loop over objects."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
_Places = NDArray[np.int64]

_BETWEEN, _END = "\n", "\0"
# Words of the last searches: a page after the first one, and what was typed before, cost nothing. 100,000 texts take 100 KB a word.
_WORDS_KEPT = 64
_AT_ONCE = 4096


def searched(parts: Iterable[str]) -> bytes:
    """A text for Texts: in lower case, and nothing is found across two of its parts, as words hold no white space."""
    return (_BETWEEN.join(parts).lower().replace(_END, _BETWEEN) + _END).encode()


class Texts:
    """Texts by number, each made by `searched`. Words are in lower case and hold no white space."""

    def __init__(self, pieces: Iterable[bytes | memoryview], lengths: Iterable[int]) -> None:
        """`pieces`: one or more whole texts each; `lengths`: of each text."""
        self._text = b"".join(pieces)
        self._begins = begins(lengths)
        self.holding = lru_cache(_WORDS_KEPT)(partial(_holding, self._text, self._begins))

    def piece(self, first: int, end: int) -> memoryview:
        """The texts of a range, as one piece."""
        return memoryview(self._text)[self._begins[first] : self._begins[end]]

    def those_holding(self, word: bytes, numbers: NDArray[np.intp]) -> Mask:
        """Which of these few texts hold a word; each is looked at."""
        find = self._text.find
        spans = zip(self._begins[numbers].tolist(), self._begins[numbers + 1].tolist(), strict=True)
        return np.fromiter((find(word, begin, end) >= 0 for begin, end in spans), bool, len(numbers))


def begins(lengths: Iterable[int]) -> _Places:
    """Where each begins, one after the other, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(np.fromiter(lengths, np.int64))))


def _holding(text: bytes, edges: _Places, word: bytes) -> Mask:
    """Which of the texts between the edges hold a word."""
    found = _with_letters(text, edges, word) if len(word) <= 2 else _with_word(text, edges, word)
    # Callers share it.
    found.flags.writeable = False
    return found


def _with_letters(text: bytes, edges: _Places, word: bytes) -> Mask:
    """One or two bytes, as one begins to type: nearly every text has them, so a search from hit to hit would take longest."""
    found = np.zeros(len(edges) - 1, bool)
    letters = np.frombuffer(text, np.uint8)
    for first in range(0, len(found), _AT_ONCE):
        part = edges[first : first + _AT_ONCE + 1]
        bytes_of_part = letters[part[0] : part[-1]]
        hits = bytes_of_part == word[0]
        if len(word) == 2:
            hits[:-1] &= bytes_of_part[1:] == word[1]
            hits[-1] = False
        found[first : first + _AT_ONCE] = np.logical_or.reduceat(hits, part[:-1] - part[0])
    return found


def _with_word(text: bytes, edges: _Places, word: bytes) -> Mask:
    places, end = [], _END.encode()
    at = text.find(word)
    while at >= 0:
        places.append(at)
        # One hit in a text is enough.
        at = text.find(word, text.find(end, at))
    found = np.zeros(len(edges) - 1, bool)
    found[np.searchsorted(edges, np.array(places, np.int64), side="right") - 1] = True
    return found
