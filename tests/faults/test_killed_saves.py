"""A save that is killed, or that is not the only one, leaves one whole result."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

import endmember as em

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and kills")

FORK = multiprocessing.get_context("fork") if os.name == "posix" else None
RESULTS = [
    em.unmix(
        em.synthetic.diode(shape=(6, 7), channels=30, seed=seed).signal,
        em.NMF(2, n_starts=1, random_state=0),
    )
    for seed in range(4)
]


def found(folder):
    """Return which of the results a folder holds, all of it."""
    answer = em.open(folder)
    (which,) = [
        number
        for number, known in enumerate(RESULTS)
        if np.array_equal(answer.maps.data, known.maps.data)
    ]
    known = RESULTS[which]
    np.testing.assert_array_equal(answer.spectra.data, known.spectra.data)
    np.testing.assert_array_equal(answer.misfit().map, known.misfit().map)
    assert answer.record["data"]["hash"] == known.record["data"]["hash"]
    return which


def test_a_save_killed_at_any_moment_leaves_the_old_or_the_new_result(tmp_path, often, count):
    old, new = 0, 1
    RESULTS[old].save(tmp_path / "x")
    begin = time.perf_counter()
    RESULTS[old].save(tmp_path / "x", overwrite=True)
    duration = time.perf_counter() - begin
    # The swap comes last, and a process of its own is slower: up to beyond the end.
    moments = np.random.default_rng(11).uniform(0, 1.5 * duration, often(1, 100))
    for moment in moments:
        saver = FORK.Process(
            target=RESULTS[new].save, args=(tmp_path / "x",), kwargs={"overwrite": True}
        )
        saver.start()
        time.sleep(moment)
        os.kill(saver.pid, signal.SIGKILL)
        saver.join()
        kind = "save killed at a random moment"
        count(kind, ("the old result", "the new result")[found(tmp_path / "x")])
        RESULTS[old].save(tmp_path / "x", overwrite=True)
        assert found(tmp_path / "x") == old
        assert [place.name for place in tmp_path.iterdir()] == ["x"]


def save_and_say(number, folder, said):
    """Save, and say whether that went well."""
    try:
        RESULTS[number].save(folder, overwrite=True)
    except Exception as problem:
        said.put((number, repr(problem)))
    else:
        said.put((number, "ok"))


def test_of_several_savers_at_once_one_wins_whole(tmp_path, often, count):
    n_savers = often(2, 4)
    for _ in range(often(1, 50)):
        said = FORK.SimpleQueue()
        savers = [
            FORK.Process(target=save_and_say, args=(number, tmp_path / "x", said))
            for number in range(n_savers)
        ]
        for saver in savers:
            saver.start()
        for saver in savers:
            saver.join()
            assert saver.exitcode == 0
        answers = dict(said.get() for _ in savers)
        assert set(answers.values()) == {"ok"}, answers
        found(tmp_path / "x")
        assert [place.name for place in tmp_path.iterdir()] == ["x"]
        count(f"{n_savers} processes saving to one folder", "one whole result, all said ok")
