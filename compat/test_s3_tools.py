"""Tools that live on S3: the AWS CLI, s3fs in its own environment, and a server that is killed while they write."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
import uuid

import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError

from conftest import ACCESS_KEY, ROOT, SECRET_KEY, Server

MIB = 1 << 20


def aws(server, *arguments, status=0):
    command = [str(pathlib.Path(sys.executable).parent / "aws"), *arguments]
    done = subprocess.run(command, env=server.environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def tree(folder):
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_aws_cli_syncs_both_ways(server, tmp_path):
    bucket = f"cli-{uuid.uuid4().hex[:10]}"
    source, target = tmp_path / "source", tmp_path / "target"
    for n in range(30):
        path = source / f"d{n % 3}" / f"f {n} ü.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000 * n))
    (source / "big.bin").write_bytes(os.urandom(9 * MIB))
    aws(server, "s3", "mb", f"s3://{bucket}")
    aws(server, "s3", "sync", str(source), f"s3://{bucket}/p", "--only-show-errors")
    assert aws(server, "s3", "sync", str(source), f"s3://{bucket}/p") == "", "nothing is left to send"
    aws(server, "s3", "sync", f"s3://{bucket}/p", str(target), "--only-show-errors")
    assert tree(target) == tree(source)

    (source / "d0" / "f 0 ü.txt").unlink()
    (source / "new").write_bytes(b"new")
    aws(server, "s3", "sync", str(source), f"s3://{bucket}/p", "--delete", "--only-show-errors")
    listed = aws(server, "s3", "ls", f"s3://{bucket}/p/", "--recursive")
    assert len(listed.splitlines()) == len(tree(source)) and "f 0 ü.txt" not in listed
    assert "PRE d0/" in aws(server, "s3", "ls", f"s3://{bucket}/p/")

    aws(server, "s3", "cp", f"s3://{bucket}/p/big.bin", f"s3://{bucket}/copy.bin", "--only-show-errors")
    aws(server, "s3", "cp", f"s3://{bucket}/copy.bin", str(tmp_path / "back.bin"), "--only-show-errors")
    assert (tmp_path / "back.bin").read_bytes() == (source / "big.bin").read_bytes()
    aws(server, "s3", "mv", f"s3://{bucket}/copy.bin", f"s3://{bucket}/moved.bin", "--only-show-errors")
    aws(server, "s3", "rb", f"s3://{bucket}", status=1)
    aws(server, "s3", "rb", f"s3://{bucket}", "--force")
    assert bucket not in aws(server, "s3", "ls")


S3FS = ROOT / "compat/.s3fs/bin/python"

SCRIPT = textwrap.dedent("""
    import json, os, sys, s3fs
    fs = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    root = sys.argv[1]
    fs.mkdir(root)
    with fs.open(f"{root}/a/b.txt", "w") as file:
        file.write("hello")
    with fs.open(f"{root}/a/big", "wb", block_size=5 * 2**20) as file:
        for _ in range(12):
            file.write(b"x" * 2**20)
    fs.pipe({f"{root}/many/{n:02}": str(n).encode() for n in range(20)})
    with fs.open(f"{root}/a/big", "rb") as file:
        file.seek(6 * 2**20)
        middle = file.read(10)
    fs.copy(f"{root}/a/b.txt", f"{root}/a/c.txt")
    fs.mv(f"{root}/a/c.txt", f"{root}/d.txt")
    out = {"ls": sorted(fs.ls(root)), "find": len(fs.find(root)), "cat": fs.cat(f"{root}/d.txt").decode(),
           "size": fs.size(f"{root}/a/big"), "middle": middle.decode(), "exists": fs.exists(f"{root}/nope"),
           "glob": len(fs.glob(f"{root}/many/1*")), "isdir": fs.isdir(f"{root}/many")}
    fs.rm(root, recursive=True)
    out["gone"] = not fs.exists(root)
    print(json.dumps(out))
""")


def test_s3fs(server):
    python = os.environ.get("CRATON_S3FS_PYTHON", str(S3FS))
    root = f"fs-{uuid.uuid4().hex[:10]}"
    done = subprocess.run([python, "-c", SCRIPT, root], env=server.environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out == {"ls": [f"{root}/a", f"{root}/d.txt", f"{root}/many"], "find": 23, "cat": "hello", "size": 12 * MIB,
                   "middle": "x" * 10, "exists": False, "glob": 10, "isdir": True, "gone": True}


def test_acknowledged_objects_survive_kill_9(tmp_path):
    """Eight writers overwrite a few keys, small and large, until the server is killed; then all must be whole."""
    server = Server(tmp_path).start()
    s3 = server.client("s3", )
    s3.create_bucket(Bucket="crash")
    body = lambda key, n: hashlib.sha256(f"{key} {n}".encode()).digest() * ([3, 400, 40_000][n % 3])
    acknowledged, attempted = {}, {}

    def write(writer):
        for n in range(10_000):
            key = f"w{writer}/{n % 3}"
            attempted[key] = n
            try:
                s3.put_object(Bucket="crash", Key=key, Body=body(key, n))
            except (BotoCoreError, ClientError, OSError):
                return
            acknowledged[key] = n

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, writer) for writer in range(8)]
        while len(acknowledged) < 24 or min(acknowledged.values()) < 6:
            time.sleep(0.05)
        server.process.kill()
        for writer in writers:
            writer.result(timeout=60)
    server.process.wait()
    server.start()
    for key, n in acknowledged.items():
        got = s3.get_object(Bucket="crash", Key=key)
        found = got["Body"].read()
        # What was acknowledged last, or what was being written when the server died: whole either way.
        assert found in (body(key, n), body(key, attempted[key])), key
        assert got["ETag"] == f'"{hashlib.md5(found).hexdigest()}"'
    # Content files that nobody's row names are swept up, and nothing else is there.
    rows = s3.list_objects_v2(Bucket="crash")["Contents"]
    large = sum(1 for row in rows if row["Size"] > 8192)
    deadline = time.monotonic() + 20
    content = tmp_path / "data" / "objects"
    while sum(1 for path in content.rglob("*") if path.is_file()) != large:
        assert time.monotonic() < deadline, "orphans are left"
        time.sleep(0.2)
    assert server.stop() == 0


def test_lists_of_many_keys(tmp_path):
    """Every page of many keys, flat and by folder, as clients see them. CRATON_S3_KEYS=100000 takes minutes to upload."""
    server = Server(tmp_path).start()
    try:
        count = int(os.environ.get("CRATON_S3_KEYS", "1500"))
        s3 = server.client("s3")
        s3.create_bucket(Bucket="many")
        fill(server, "many", count)
        started = time.monotonic()
        keys = [item["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="many") for item in page["Contents"]]
        flat_s = time.monotonic() - started
        assert len(keys) == count and keys == sorted(keys)
        started = time.monotonic()
        folders = s3.list_objects_v2(Bucket="many", Delimiter="/")
        folder_s = time.monotonic() - started
        assert [p["Prefix"] for p in folders["CommonPrefixes"]] == [f"d{n:02}/" for n in range(100)]
        started = time.monotonic()
        last = s3.list_objects_v2(Bucket="many", Prefix="d99/", StartAfter=f"d99/{count // 100 - 5:05}")
        seek_s = time.monotonic() - started
        assert last["KeyCount"] == 4
        print(f"{count} keys: all pages {flat_s:.2f} s, 100 folders {folder_s * 1000:.0f} ms, a seek {seek_s * 1000:.0f} ms")
        assert folder_s < 2 and seek_s < 0.5
    finally:
        server.stop()


def fill(server, bucket, count):
    """Puts `count` small objects through presigned-like signed requests, from several processes."""
    script = textwrap.dedent("""
        import sys, boto3, concurrent.futures
        from botocore.config import Config
        url, bucket, start, stop, step, key, secret = sys.argv[1:]
        s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret,
                          config=Config(max_pool_connections=16, request_checksum_calculation="when_required"))
        numbers = range(int(start), int(stop), int(step))
        put = lambda n: s3.put_object(Bucket=bucket, Key=f"d{n % 100:02}/{n // 100:05}", Body=b"%d" % n)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(put, numbers))
    """)
    step = 2
    workers = [subprocess.Popen([sys.executable, "-c", script, server.url, bucket, str(n), str(count), str(step),
                                 ACCESS_KEY, SECRET_KEY]) for n in range(step)]
    for worker in workers:
        assert worker.wait() == 0
    assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
