"""Which experts stay in memory."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.files.file_writing import FileExists
from hypothesis import given
from hypothesis import strategies as st

from glmq.experts.expert_cache import HALF_LIFE, ExpertCache
from glmq.experts.profile import likeliest, load_profile, save_profile
from glmq.experts.trace import RoutingTrace


def test_each_layer_has_an_equal_share_of_the_slots():
    cache = ExpertCache(n_layers=3, n_experts=8, n_slots=7)
    assert [cache.room(layer) for layer in range(3)] == [3, 2, 2]
    assert cache.slots() == set(range(7))


def test_the_least_used_expert_goes_and_older_uses_count_less():
    cache = ExpertCache(1, 8, 2)
    for expert, tokens in ((0, HALF_LIFE * 3), (0, 0), (0, 0), (1, 1)):
        cache.count_tokens(tokens)
        cache.use((0, expert))
        if cache.slot((0, expert)) is None:
            cache.admit((0, expert))
    cache.use((0, 2))
    cache.admit((0, 2))
    assert cache.of_layer(0) == [(0, 0), (0, 2)], "three uses in the past count more than a late one"
    cache.count_tokens(HALF_LIFE * 10)
    cache.use((0, 2))
    cache.use((0, 3))
    cache.admit((0, 3))
    assert cache.of_layer(0) == [(0, 2), (0, 3)], "but not for ever"


def test_experts_that_are_wanted_now_do_not_go():
    cache = ExpertCache(1, 8, 2)
    cache.admit((0, 0))
    cache.admit((0, 1))
    assert cache.admit((0, 2), keep=[(0, 0), (0, 1), (0, 2)]) is None
    assert cache.admit((0, 2), keep=[(0, 0), (0, 2)]) is not None
    assert sorted(cache.of_layer(0)) == [(0, 0), (0, 2)]


def test_an_expert_can_stay_in_the_slot_in_which_it_came():
    cache = ExpertCache(1, 8, 1)
    first = cache.admit((0, 0))
    assert cache.exchange((0, 1), slot=77) == first
    assert cache.slot((0, 1)) == 77
    cache.forget((0, 1))
    assert cache.slots() == {77}


@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 5), min_size=1, max_size=3)), max_size=60),
)
def test_no_slot_is_lost_or_given_twice(n_slots, batches):
    cache = ExpertCache(3, 6, n_slots)
    for layer, numbers in batches:
        wanted = [(layer, number) for number in numbers]
        cache.count_tokens(1)
        for expert in wanted:
            if cache.use(expert) is None:
                cache.admit(expert, wanted)
        used = [cache.slot((i, j)) for i in range(3) for j in range(6) if cache.slot((i, j)) is not None]
        assert len(used) == len(set(used)) == len(cache)
        assert cache.slots() == set(range(n_slots))
        assert set(cache.of_layer(layer)).issuperset(wanted) or cache.room(layer) == 0


def test_counts_stay_finite_in_a_long_life():
    cache = ExpertCache(1, 2, 1)
    for _ in range(10_000):
        cache.count_tokens(512)
        cache.use((0, 1))
    assert 0 < cache.uses((0, 1)) < np.inf
    assert cache.uses((0, 0)) == 0


def test_a_profile_tells_the_next_session_what_was_used_most(tmp_path):
    path = tmp_path / "folder" / "profile.json"
    uses = np.array([[0, 3, 1], [5, 0, 0]])
    save_profile(path, np.zeros((2, 3)), uses)
    assert list(likeliest(load_profile(path, 2, 3))) == [(1, 0), (0, 1), (0, 2)]
    save_profile(path, load_profile(path, 2, 3), np.array([[4, 0, 0], [0, 0, 0]]))
    assert next(iter(likeliest(load_profile(path, 2, 3)))) == (0, 0), "earlier sessions count less"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"uses": [[1]]}',
        '{"uses": "x"}',
        '{"uses": [[1, NaN]]}',
        "\x00",
        '{"uses": [[1' + 400 * "0" + ", 1]]}",
    ],
)
def test_a_damaged_profile_is_like_none(tmp_path, text):
    (tmp_path / "profile.json").write_text(text)
    assert not load_profile(tmp_path / "profile.json", 1, 2).any()


def test_a_record_of_routing_takes_the_place_of_another_one_alone(tmp_path):
    path = tmp_path / "routing.npy"
    RoutingTrace().save(path)
    RoutingTrace().save(path)
    for content in (np.zeros((3, 4), np.float32), np.zeros((3, 4, 5), np.float32), b"\x93NUMPY", b"text"):
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        before = path.read_bytes()
        with pytest.raises(FileExists, match="is not a record of routing"):
            RoutingTrace().save(path)
        assert path.read_bytes() == before
    RoutingTrace().save(path, force=True)
    assert np.load(path).shape == (0, 0, 0)
    assert list(tmp_path.iterdir()) == [path]


def test_a_profile_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    save_profile(tmp_path / "file" / "profile.json", np.zeros((1, 1)), np.ones((1, 1)))
    (tmp_path / "profile.json").mkdir()
    save_profile(tmp_path / "profile.json", np.zeros((1, 1)), np.ones((1, 1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "profile.json"]
