"""A lazy fit that is killed goes on where it was; one that loses its workers says so."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

import endmember as em
from endmember.cli import main
from endmember.factor.data import lazy, observed

pytestmark = [
    pytest.mark.usefixtures("without_report"),
    pytest.mark.skipif(os.name != "posix", reason="forks and kills"),
]

FORK = multiprocessing.get_context("fork") if os.name == "posix" else None


@pytest.fixture
def read_in_blocks(monkeypatch):
    """Small images are read as large ones are: block by block, in one thread."""
    monkeypatch.setattr(observed, "KEPT_UP_TO", 0)
    monkeypatch.setattr(lazy, "SMALL_BLOCK", 0)
    monkeypatch.setenv("ENDMEMBER_THREADS", "1")


@pytest.fixture
def file(tmp_path):
    image = em.synthetic.mixed_phases(shape=(24, 24), channels=80, k=3, seed=4).signal
    image.save(tmp_path / "image.hspy", chunks=(8, 24, 80))
    return tmp_path / "image.hspy"


def unmix(file, *options):
    return main(["unmix", str(file), "-k", "3", "--lazy", "--overwrite", *options])


def killed(moment, file, passes, after_a_pass):
    """Run the command in a process of its own until it is killed, some seconds from its start or first pass."""
    process = FORK.Process(target=unmix, args=(file,))
    process.start()
    while after_a_pass and process.is_alive() and not any(passes.glob("*.npz")):
        time.sleep(0.001)
    time.sleep(moment)
    process.kill()
    process.join()


@pytest.mark.filterwarnings("ignore")
def test_a_killed_command_resumes_to_the_same_answer(file, read_in_blocks, often, count, capsys):
    folder, passes = file.with_name("image-unmixed"), file.with_name("image-unmixed.passes")
    unmix(file)
    right = em.open(folder)
    rng = np.random.default_rng(5)
    for number in range(often(1, 20)):
        moment = rng.uniform(0, right.record["fit_seconds"])
        killed(moment, file, passes, after_a_pass=number % 2 == 0)
        n_kept = len(list(passes.glob("*.npz")))
        assert unmix(file, "--resume") == 0 and not passes.exists()
        found = em.open(folder)
        np.testing.assert_array_equal(found.maps.data, right.maps.data)
        np.testing.assert_array_equal(found.spectra.data, right.spectra.data)
        count("command killed and resumed to the same bits", f"with {n_kept} passes kept")


@pytest.mark.filterwarnings("ignore")
def test_an_answer_that_begins_with_kept_passes_is_saved_like_any_other(file, read_in_blocks):
    def interrupt(progress):
        raise KeyboardInterrupt

    signal_, model = em.load(file, lazy=True), em.NMF(3, n_starts=2, random_state=0)
    kept = {"checkpoint": file.with_name("kept")}
    with pytest.raises(KeyboardInterrupt):
        em.unmix(signal_, model, callback=interrupt, **kept)
    assert any(kept["checkpoint"].glob("look-*.npz"))
    resumed = em.unmix(signal_, model, resume=True, **kept)
    saved = em.open(resumed.save(file.with_name("saved")))
    assert saved.record["whole_numbers"] is True
    np.testing.assert_array_equal(saved.spectra.data, em.unmix(signal_, model).spectra.data)


@pytest.fixture
def cluster(monkeypatch, often, number, restart):
    if (number, restart) in often([(1, False), (2, True)], []):
        pytest.skip("only in make test-faults")
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(lazy, "ALONE_SECONDS", 2.0)
    monkeypatch.setattr(lazy, "LOOK_SECONDS", 0.5)
    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, **options) as workers, distributed.Client(workers):
        yield workers


def kill_workers(cluster, number, restart):
    for nanny in list(cluster.workers.values())[:number]:
        nanny.auto_restart = restart
        os.kill(nanny.process.pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number, restart", [(1, True), (2, False), (1, False), (2, True)])
def test_lost_workers_cost_time_or_end_in_a_sentence(
    file, read_in_blocks, cluster, number, restart, count
):
    model, signal_ = em.NMF(3, n_starts=2, random_state=0), em.load(file, lazy=True)
    done = []

    def kill(progress):
        if not done:
            done.append(kill_workers(cluster, number, restart))

    kept = {"checkpoint": file.with_name("kept")}
    kind = f"{number} of 2 workers killed, {'started again' if restart else 'for good'}"
    try:
        found = em.unmix(signal_, model, callback=kill, **kept)
    except em.EndmemberError as lost:
        assert "resume=True" in str(lost) and number == 2
        assert any(kept["checkpoint"].glob("*.npz"))
        count(kind, "a sentence")
    else:
        count(kind, "the same answer")
    assert done
    with pytest.MonkeyPatch.context() as alone:
        alone.setattr(lazy, "cluster", lambda: None)
        right = em.unmix(signal_, model)
        resumed = em.unmix(signal_, model, resume=True, **kept)
    for answer in (resumed, locals().get("found", resumed)):
        np.testing.assert_allclose(answer.spectra.data, right.spectra.data, rtol=1e-9)
        np.testing.assert_allclose(answer.maps.data, right.maps.data, rtol=1e-9, atol=1e-9)
