"""Who may compute, and how a job is taken out of the line."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

import usrnet
from usrnet.errors import UsrnetError
from usrnet.web import limits
from usrnet.web.jobs import Jobs, Stopped

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def until(condition, *, seconds: float = 120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this took too long"
        time.sleep(0.05)


def test_one_at_a_time_in_the_order_they_came():
    jobs, order, inside = Jobs(), [], []

    def job(number: int) -> None:
        with jobs.turn(f"session {number}"):
            inside.append(number)
            assert inside == [number]
            order.append(number)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool, jobs.turn():
        futures = []
        for number in range(8):
            futures.append(pool.submit(job, number))
            until(lambda: len(jobs) == len(futures) + 1)
    for future in futures:
        future.result()
    assert order == list(range(8))
    assert len(jobs) == 0


def test_a_job_is_stopped_while_it_waits_and_while_it_runs():
    jobs, told = Jobs(), []

    def wait() -> None:
        with jobs.turn("one", waiting=told.append):
            raise AssertionError("it is not its turn")

    with ThreadPoolExecutor(1) as pool, jobs.turn("two") as stop:
        future = pool.submit(wait)
        until(lambda: told == [1])
        jobs.stop("one")
        with pytest.raises(Stopped):
            future.result(timeout=10)
        assert not stop.is_set()
        jobs.stop("two")
        assert stop.is_set()


def test_a_job_without_a_session_is_not_stopped():
    jobs = Jobs()
    with jobs.turn() as stop:
        jobs.stop(None)
        assert not stop.is_set()


def test_a_failed_job_lets_the_next_one_through():
    jobs = Jobs()
    with pytest.raises(RuntimeError), jobs.turn("one"):
        raise RuntimeError
    with jobs.turn("two"):
        pass


def test_so_many_may_wait(monkeypatch):
    monkeypatch.setattr(limits, "WAITING", 1)
    jobs, leave = Jobs(), threading.Event()

    def hold() -> None:
        with jobs.turn():
            leave.wait(30)

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(hold) for _ in range(2)]
        until(lambda: len(jobs) == 2)
        with pytest.raises(UsrnetError, match="1 are waiting already"), jobs.turn():
            pass
        leave.set()
        for future in futures:
            future.result()


def test_cancel_in_the_line_through_the_http_interface(narrow, photo, tmp_path):
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    Image.fromarray(np.tile(photo, (4, 4, 1))).save(large)
    Image.fromarray(photo[:64, :64]).save(small)
    first, second, third = (Client(narrow.address, verbose=False) for _ in range(3))

    def says(job, text: str) -> bool:
        return any(text in (unit.desc or "") for unit in job.status().progress_data or [])

    running = first.submit(handle_file(large), scale=4, kernel_file=None, api_name="/restore_all")
    until(lambda: says(running, "restoring"))
    waiting = second.submit(handle_file(small), scale=1, kernel_file=None, api_name="/restore_all")
    until(lambda: says(waiting, "1 before you"))
    with pytest.raises(Exception, match="1 are waiting already"):
        third.predict(handle_file(small), scale=1, kernel_file=None, api_name="/restore_all")
    second.predict(api_name="/cancel")
    waiting.result(timeout=60)
    assert not running.done()

    # A request that is cancelled as Gradio's clients do it leaves the line, too.
    given_up = third.submit(handle_file(small), scale=1, kernel_file=None, api_name="/restore_all")
    until(lambda: says(given_up, "1 before you"))
    assert given_up.communicator
    (index,) = (one["id"] for one in third.config["dependencies"] if one["api_name"] == "restore_all")
    body = {"session_hash": third.session_hash, "fn_index": index, "event_id": given_up.communicator.event_id}
    narrow.post("cancel", json.dumps(body).encode())
    again = second.submit(handle_file(small), scale=1, kernel_file=None, api_name="/restore_all")
    until(lambda: says(again, "1 before you"))
    first.predict(api_name="/cancel")
    running.result(timeout=120)
    assert again.result(timeout=120)[1].endswith("small_x1.png")


def test_cancel_ends_the_search_for_a_shake(page, photo, tmp_path):
    path = tmp_path / "shaken.png"
    large = np.tile(photo, (2, 2, 1))
    Image.fromarray(usrnet.degrade(large, "motion:5", scale=1, noise_level=2.55)).save(path)
    client = Client(page, verbose=False)
    searching = client.submit(handle_file(path), scale=1, kernel_file=None, api_name="/find")

    def cancelled() -> bool:  # again and again, for it may not be in the line yet
        client.predict(api_name="/cancel")
        return searching.done()

    until(cancelled)
    blur, *_ = searching.result()
    assert not isinstance(blur, str)  # as it was
