"""What waits between the threads of an ingestion is bounded by its weight."""

from __future__ import annotations

import queue
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.files import find_sources
from ingest.reader import AHEAD, Read, Reader, make_splitter
from ingest.weighed import WeighedQueue
from ragkit.embed.hashing import HashingEmbedder
from tests import library


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 60))
def test_all_comes_out_in_order_and_no_more_waits_than_one_item_above_the_most(weights, most):
    waiting: WeighedQueue[int] = WeighedQueue(most, lambda weight: weight)
    came, left = [], list(weights)
    while left or not waiting.empty():
        try:
            waiting.put_nowait(left[0])
            left.pop(0)
        except (queue.Full, IndexError):
            came.append(waiting.get_nowait())
        assert waiting.qsize() < most + 50
    assert came == weights
    with pytest.raises(queue.Empty):
        waiting.get_nowait()


def test_one_of_any_weight_fits_into_an_empty_queue_and_shuts_it():
    waiting: WeighedQueue[str] = WeighedQueue(10, len)
    waiting.put_nowait("x" * 1000)
    with pytest.raises(queue.Full):
        waiting.put_nowait("y")
    assert waiting.get_nowait() == "x" * 1000
    waiting.put_nowait("y")


def test_the_reader_is_no_more_than_so_many_characters_ahead(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text(f"{number}\n" + "The cat sleeps on the mat.\n" * (AHEAD // 3 // 27))
    collection = library.new(tmp_path / "home", "ahead")
    splitter = make_splitter(collection.settings, HashingEmbedder())
    reader = Reader(collection, find_sources([folder]), splitter, lambda: False)
    reader.start()
    try:
        end = time.monotonic() + 60
        while reader.items.qsize() < AHEAD and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)  # it may go on; it must not
        waiting = [item for _, item in list(reader.items.queue) if isinstance(item, Read)]
        assert len(waiting) == 3
    finally:
        reader.stop()
