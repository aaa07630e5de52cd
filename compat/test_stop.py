"""A server that is told to stop ends well, also while it is loading its model."""

import time

from conftest import Server


def test_stop_while_the_model_is_loaded(tmp_path):
    for n in range(16):
        server = Server(tmp_path).start()
        time.sleep(n * 0.05)
        assert server.stop() == 0, f"stopped {n * 50} ms after it answered"
