"""The AWS SDK for JavaScript v3, over HTTP/2 without TLS."""

import pathlib
import subprocess

HERE = pathlib.Path(__file__).parent / "js"


def test_js_sdk(server):
    done = subprocess.run(
        ["node", "--test", "bedrock.mjs"], cwd=HERE, env=server.environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:] + server.tail()
