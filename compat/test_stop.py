"""A server that is told to stop ends well, also while it is loading its model."""

import signal
import time

from conftest import Server


def test_stop_while_the_model_is_loaded(tmp_path):
    for n in range(16):
        server = Server(tmp_path).start()
        time.sleep(n * 0.05)
        assert server.stop() == 0, f"stopped {n * 50} ms after it answered"


def test_a_second_signal_ends_it_at_once_and_crashes_nothing(tmp_path):
    for n in range(8):
        server = Server(tmp_path).start()
        time.sleep(n * 0.05)
        server.process.terminate()
        time.sleep(0.01)
        server.process.terminate()
        # It may have been done already.
        assert server.process.wait(10) in (0, -signal.SIGTERM), f"asked to stop {n * 50} ms after it answered"
