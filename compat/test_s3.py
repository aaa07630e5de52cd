"""S3 with boto3: objects, lists, versions, uploads, presigned URLs, policies, and what must be refused."""

import hashlib
import io
import json
import os
import uuid
from urllib.parse import quote

import boto3
import pytest
import requests
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import ACCESS_KEY, REGION, SECRET_KEY

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def code(call, **arguments):
    """Status and code of the error that a call must end in."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_buckets_come_and_go(s3, server):
    name = f"b-{uuid.uuid4().hex[:12]}"
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    s3.create_bucket(Bucket=name)
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == REGION
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.put_object(Bucket=name, Key="k", Body=b"v")
    assert code(s3.delete_bucket, Bucket=name) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    assert code(s3.head_bucket, Bucket=name) == (404, "404")
    assert code(s3.list_objects_v2, Bucket=name) == (404, "NoSuchBucket")

    europe = boto3.client("s3", region_name="eu-west-1", endpoint_url=server.url,
                          aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    elsewhere = name + "-eu"
    europe.create_bucket(Bucket=elsewhere, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.get_bucket_location(Bucket=elsewhere)["LocationConstraint"] == "eu-west-1"
    assert code(europe.create_bucket, Bucket=elsewhere,
                CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}) == (409, "BucketAlreadyOwnedByYou")
    assert code(s3.create_bucket, Bucket="UPPER_case")[1] in ("InvalidBucketName", "400")
    with pytest.raises(ClientError, match="The specified bucket is not valid"):
        s3.create_bucket(Bucket="two..dots")


def test_an_object_keeps_all_that_was_said_of_it(s3, bucket):
    body = os.urandom(200_000)
    put = s3.put_object(Bucket=bucket, Key="dir/ü +&?.txt", Body=body, ContentType="text/plain", CacheControl="no-cache",
                        ContentDisposition="inline", ContentEncoding="gzip", ContentLanguage="nl",
                        Metadata={"Author": "me", "n": "2"}, Tagging="team=blue&x=y%20z")
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="dir/ü +&?.txt")
    assert got["Body"].read() == body
    assert (got["ContentType"], got["CacheControl"], got["ContentDisposition"], got["ContentEncoding"],
            got["ContentLanguage"]) == ("text/plain", "no-cache", "inline", "gzip", "nl")
    assert got["Metadata"] == {"author": "me", "n": "2"} and got["TagCount"] == 2
    head = s3.head_object(Bucket=bucket, Key="dir/ü +&?.txt")
    assert (head["ContentLength"], head["ETag"]) == (len(body), put["ETag"])
    tags = s3.get_object_tagging(Bucket=bucket, Key="dir/ü +&?.txt")["TagSet"]
    assert tags == [{"Key": "team", "Value": "blue"}, {"Key": "x", "Value": "y z"}]
    part = s3.get_object(Bucket=bucket, Key="dir/ü +&?.txt", Range="bytes=100-199")
    assert part["Body"].read() == body[100:200]
    assert part["ContentRange"] == f"bytes 100-199/{len(body)}" and part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert code(s3.get_object, Bucket=bucket, Key="dir/ü +&?.txt", Range="bytes=200000-") == (416, "InvalidRange")
    overridden = s3.get_object(Bucket=bucket, Key="dir/ü +&?.txt", ResponseContentType="x/y")
    assert overridden["ContentType"] == "x/y"
    assert code(s3.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert code(s3.head_object, Bucket=bucket, Key="none") == (404, "404")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""
    assert s3.get_object(Bucket=bucket, Key="empty")["ContentType"] == "binary/octet-stream"
    assert code(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == (400, "KeyTooLongError")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "b" * 2048}) == (400, "MetadataTooLarge")


def test_ranges_that_cannot_be_read_are_passed_over(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    for none in ["lines=1-2", "bytes=a-b", "bytes=0-1,3-4", "bytes=5-4", "bytes=-", "x"]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=none)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200 and got["Body"].read() == b"0123456789", none
        head = s3.head_object(Bucket=bucket, Key="k", Range=none)
        assert head["ResponseMetadata"]["HTTPStatusCode"] == 200 and head["ContentLength"] == 10
        presigned = requests.get(url, headers={"Range": none})
        assert (presigned.status_code, presigned.content) == (200, b"0123456789"), none
    huge = "9" * 30
    assert s3.get_object(Bucket=bucket, Key="k", Range=f"bytes=8-{huge}")["Body"].read() == b"89"
    assert s3.get_object(Bucket=bucket, Key="k", Range=f"bytes=-{huge}")["Body"].read() == b"0123456789"
    for unsatisfiable in ["bytes=10-", "bytes=-0", "bytes=10-12", f"bytes={huge}-"]:
        assert code(s3.get_object, Bucket=bucket, Key="k", Range=unsatisfiable) == (416, "InvalidRange"), unsatisfiable
    # Whoever may not read the object may not with such a range.
    stranger = boto3.client("s3", endpoint_url=s3.meta.endpoint_url, region_name=REGION,
                            aws_access_key_id=ACCESS_KEY, aws_secret_access_key="wrong")
    assert code(stranger.get_object, Bucket=bucket, Key="k", Range="x") == (403, "SignatureDoesNotMatch")
    assert requests.get(url.split("?")[0], headers={"Range": "x"}).status_code == 403
    assert requests.get(url[:-1] + ("0" if url[-1] != "0" else "1"), headers={"Range": "x"}).status_code == 403


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3, bucket, algorithm):
    field = "Checksum" + algorithm
    body = os.urandom(70_000)
    if algorithm in ("CRC32C", "CRC64NVME"):
        pytest.importorskip("awscrt")
    put = s3.put_object(Bucket=bucket, Key="c", Body=body, ChecksumAlgorithm=algorithm)
    assert put[field] and put["ChecksumType"] == "FULL_OBJECT"
    assert s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")[field] == put[field]
    got = s3.get_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
    assert got["Body"].read() == body and got[field] == put[field]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="c", ObjectAttributes=["Checksum", "ETag", "ObjectSize"])
    assert attributes["Checksum"][field] == put[field] and attributes["ObjectSize"] == len(body)
    wrong = put[field][:-4] + ("AAA=" if put[field].endswith("=") and put[field][-2] != "=" else "AA==")
    assert code(s3.put_object, Bucket=bucket, Key="c", Body=body + b"x", **{field: put[field]})[1] in (
        "BadDigest", "InvalidRequest")
    assert wrong != put[field]
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == body


def test_a_stream_of_unknown_length_with_a_trailing_checksum(s3, bucket):
    body = os.urandom(300_000)
    # boto3 sends a file-like body over http:// as aws-chunked with a trailing CRC32.
    s3.put_object(Bucket=bucket, Key="chunked", Body=io.BytesIO(body), ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket=bucket, Key="chunked")["Body"].read() == body
    assert code(s3.put_object, Bucket=bucket, Key="m", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == (400, "BadDigest")


def test_conditions(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="c", Body=b"one")["ETag"]
    head = s3.head_object(Bucket=bucket, Key="c")
    assert code(s3.get_object, Bucket=bucket, Key="c", IfNoneMatch=etag) == (304, "304")
    assert code(s3.get_object, Bucket=bucket, Key="c", IfModifiedSince=head["LastModified"]) == (304, "304")
    assert code(s3.get_object, Bucket=bucket, Key="c", IfMatch='"00"') == (412, "PreconditionFailed")
    assert code(s3.head_object, Bucket=bucket, Key="c", IfMatch='"00"') == (412, "412")
    assert s3.get_object(Bucket=bucket, Key="c", IfMatch=etag)["Body"].read() == b"one"
    assert code(s3.put_object, Bucket=bucket, Key="c", Body=b"two", IfNoneMatch="*") == (412, "PreconditionFailed")
    assert code(s3.put_object, Bucket=bucket, Key="c", Body=b"two", IfMatch='"00"') == (412, "PreconditionFailed")
    s3.put_object(Bucket=bucket, Key="c", Body=b"two", IfMatch=etag)
    s3.put_object(Bucket=bucket, Key="new", Body=b"n", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"two"


def test_lists_and_paginators(s3, bucket):
    keys = sorted([f"a/{n:03}" for n in range(25)] + [f"b/{n}/x" for n in range(12)] + ["top", "é/ü", "sp ace/+"])
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
        assert [item["Key"] for page in pages for item in page["Contents"]] == sorted(keys, key=str.encode)
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
        assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/", "b/", "sp ace/", "é/"]
        assert [item["Key"] for page in pages for item in page.get("Contents", [])] == ["top"]
        under = s3.get_paginator(operation).paginate(Bucket=bucket, Prefix="b/", Delimiter="/").search("CommonPrefixes[].Prefix")
        assert len(list(under)) == 12
    first = s3.list_objects_v2(Bucket=bucket, MaxKeys=3, StartAfter="a/020")
    assert [item["Key"] for item in first["Contents"]] == ["a/021", "a/022", "a/023"]
    assert first["KeyCount"] == 3 and first["IsTruncated"]
    assert code(s3.list_objects_v2, Bucket=bucket, ContinuationToken="made up")[1] == "InvalidArgument"
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0

    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys[:20]] + [{"Key": "none"}]})
    assert len(done["Deleted"]) == 21 and "Errors" not in done
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": keys[20]}], "Quiet": True})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == len(keys) - 21


def test_transfers_in_parts(s3, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(20 * MIB + 77))
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    s3.upload_file(str(source), bucket, "big", Config=config, ExtraArgs={"Metadata": {"a": "b"}, "ContentType": "x/y"})
    s3.download_file(bucket, "big", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    head = s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-3"') and head["Metadata"] == {"a": "b"} and head["ContentType"] == "x/y"
    second = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert second["PartsCount"] == 3 and second["Body"].read() == source.read_bytes()[8 * MIB:16 * MIB]
    across = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={8 * MIB - 5}-{8 * MIB + 4}")["Body"].read()
    assert across == source.read_bytes()[8 * MIB - 5:8 * MIB + 5]
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=config)
    assert hashlib.md5(s3.get_object(Bucket=bucket, Key="copy")["Body"].read()).digest() == hashlib.md5(source.read_bytes()).digest()


def test_an_upload_is_resumed_and_aborted(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm="SHA256")["UploadId"]
    ids = dict(Bucket=bucket, Key="m", UploadId=upload)
    first = os.urandom(5 * MIB)
    one = s3.upload_part(**ids, PartNumber=1, Body=first, ChecksumAlgorithm="SHA256")
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [upload]
    # Another client finds what is there and goes on.
    listed = s3.list_parts(**ids)
    assert [(p["PartNumber"], p["ETag"], p["Size"]) for p in listed["Parts"]] == [(1, one["ETag"], 5 * MIB)]
    two = s3.upload_part(**ids, PartNumber=2, Body=b"tail", ChecksumAlgorithm="SHA256")
    parts = [dict(PartNumber=n, ETag=p["ETag"], ChecksumSHA256=p["ChecksumSHA256"]) for n, p in ((1, one), (2, two))]
    assert code(s3.complete_multipart_upload, **ids, MultipartUpload={"Parts": parts[::-1]}) == (400, "InvalidPartOrder")
    wrong = [parts[0], dict(parts[1], ETag=parts[0]["ETag"])]
    assert code(s3.complete_multipart_upload, **ids, MultipartUpload={"Parts": wrong}) == (400, "InvalidPart")
    done = s3.complete_multipart_upload(**ids, MultipartUpload={"Parts": parts})
    assert done["ETag"].endswith('-2"') and done["ChecksumSHA256"].endswith("-2")
    # Asked again, because the first answer may have got lost.
    assert s3.complete_multipart_upload(**ids, MultipartUpload={"Parts": parts})["ETag"] == done["ETag"]
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == first + b"tail"

    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    assert code(s3.list_parts, Bucket=bucket, Key="m", UploadId=upload) == (404, "NoSuchUpload")


def test_copies(s3, bucket):
    s3.put_object(Bucket=bucket, Key="from", Body=b"content", Metadata={"a": "1"}, ContentType="x/y", Tagging="t=1")
    etag = s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})["CopyObjectResult"]["ETag"]
    to = s3.get_object(Bucket=bucket, Key="to")
    assert (to["Body"].read(), to["Metadata"], to["ContentType"], to["TagCount"], to["ETag"]) == (
        b"content", {"a": "1"}, "x/y", 1, etag)
    s3.copy_object(Bucket=bucket, Key="to", CopySource=f"{bucket}/from", MetadataDirective="REPLACE", Metadata={"b": "2"},
                   TaggingDirective="REPLACE", Tagging="u=2")
    assert s3.head_object(Bucket=bucket, Key="to")["Metadata"] == {"b": "2"}
    assert s3.get_object_tagging(Bucket=bucket, Key="to")["TagSet"] == [{"Key": "u", "Value": "2"}]
    source = {"Bucket": bucket, "Key": "from"}
    assert code(s3.copy_object, Bucket=bucket, Key="from", CopySource=source) == (400, "InvalidRequest")
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource=source, CopySourceIfMatch='"0"')[0] == 412
    assert code(s3.copy_object, Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "no"}) == (404, "NoSuchKey")


def test_versions(s3, server, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"zero")
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    one = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="k", Body=b"two")["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == two
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=one)["Body"].read() == b"one"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"zero"
    marker = s3.delete_object(Bucket=bucket, Key="k")
    assert marker["DeleteMarker"]
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=bucket, Key="k")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=marker["VersionId"]) == (405, "MethodNotAllowed")
    listed = s3.list_object_versions(Bucket=bucket)
    assert [(v["VersionId"], v["IsLatest"]) for v in listed["Versions"]] == [(two, False), (one, False), ("null", False)]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages) == 4
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert copied["CopySourceVersionId"] == two
    s3.delete_object(Bucket=bucket, Key="copy", VersionId=copied["VersionId"])
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId="nonsense")[0] in (400, 404)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"three").get("VersionId") == "null"

    resource = boto3.resource("s3", region_name=REGION, endpoint_url=server.url,
                              aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    assert len(resource.Bucket(bucket).object_versions.delete()[0]["Deleted"]) == 3
    assert "Versions" not in s3.list_object_versions(Bucket=bucket)
    s3.delete_bucket(Bucket=bucket)


def presigning(server, version):
    return server_client(server, Config(signature_version=version, s3={"addressing_style": "path"}))


def server_client(server, config, **options):
    return boto3.client("s3", region_name=REGION, endpoint_url=server.url, aws_access_key_id=ACCESS_KEY,
                        aws_secret_access_key=SECRET_KEY, config=config, **options)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls(s3, server, bucket, version):
    signer = presigning(server, version)
    put = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "pre signed/ü"}, ExpiresIn=60)
    assert requests.put(put, data=b"hello").status_code == 200
    get = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "pre signed/ü"}, ExpiresIn=60)
    assert ("X-Amz-Signature" in get) == (version == "s3v4")
    assert requests.get(get).content == b"hello"
    assert requests.get(get, headers={"Range": "bytes=1-2"}).content == b"el"
    signature = get.partition("Signature=")[2].partition("&")[0]
    forged = ("b" if signature[0] == "a" else "a") + signature[1:]
    for changed in (get.replace("pre%20signed", "other"), get.replace(signature, forged)):
        refused = requests.get(changed)
        assert refused.status_code == 403 and "SignatureDoesNotMatch" in refused.text
    assert requests.put(get, data=b"no").status_code == 403
    late = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-10)
    assert requests.get(late).status_code in (400, 403)
    # A header that would change the request's meaning can't be added.
    s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    stolen = requests.put(put, headers={"x-amz-copy-source": f"/{bucket}/secret"})
    assert stolen.status_code == 403
    assert s3.get_object(Bucket=bucket, Key="pre signed/ü")["Body"].read() == b"hello"


def test_a_form_is_posted(server, s3, bucket):
    post = presigning(server, "s3v4").generate_presigned_post(bucket, "forms/a.txt", ExpiresIn=60)
    answer = requests.post(post["url"], data=post["fields"], files={"file": ("a.txt", b"posted")})
    assert answer.status_code == 204, answer.text
    assert s3.get_object(Bucket=bucket, Key="forms/a.txt")["Body"].read() == b"posted"
    other = requests.post(post["url"], data=dict(post["fields"], key="forms/b.txt"), files={"file": ("a.txt", b"no")})
    assert (other.status_code, "Invalid according to Policy" in other.text) == (403, True), other.text
    broken = requests.post(post["url"], data=b"--b\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert (broken.status_code, "<Code>MalformedPOSTRequest</Code>" in broken.text) == (400, True), broken.text


def test_bucket_names_in_host_names(server, s3, bucket):
    port = server.port
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"virtual")
    for host in (f"{bucket}.s3.localhost:{port}", f"{bucket}.localhost:{port}"):
        client = server_client(server, Config(s3={"addressing_style": "path"}))
        # Signed for the host name, sent to the address that it stands for.
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        request = AWSRequest("GET", f"http://{host}/a/b", headers={"Host": host})
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
        answer = requests.get(f"{server.url}/a/b", headers=dict(request.headers))
        assert (answer.status_code, answer.content) == (200, b"virtual"), answer.text
        assert client is not None


def test_strangers_and_open_buckets(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="open/a", Body=b"a")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"b")
    url = f"{server.url}/{bucket}"
    for answer in (requests.get(f"{url}/open/a"), requests.get(url), requests.put(f"{url}/x", data=b"x"),
                   requests.get(f"{server.url}/no-such-bucket-at-all/k")):
        assert answer.status_code == 403 and "<Code>AccessDenied</Code>" in answer.text, answer.text
    policy = ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
              f'"Resource":"arn:aws:s3:::{bucket}/open/*"}}]}}')
    assert code(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    # Like every new bucket, this one is closed to the public until that is taken back.
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]
    assert code(s3.put_bucket_policy, Bucket=bucket, Policy=policy) == (403, "AccessDenied")
    s3.delete_public_access_block(Bucket=bucket)
    assert code(s3.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    assert code(s3.put_bucket_policy, Bucket=bucket, Policy="{") == (400, "MalformedPolicy")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    assert requests.get(f"{url}/open/a").content == b"a"
    assert requests.get(f"{url}/closed").status_code == 403
    assert requests.put(f"{url}/open/a", data=b"x").status_code == 403
    assert requests.get(url).status_code == 403
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert requests.get(f"{url}/open/a").status_code == 403
    s3.delete_bucket_policy(Bucket=bucket)
    assert code(s3.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    # Other services' paths stay theirs, signed or not.
    assert "MissingAuthenticationToken" in requests.get(f"{server.url}/guardrails").headers["x-amzn-ErrorType"]


def test_wrong_keys(server, bucket):
    wrong = boto3.client("s3", region_name=REGION, endpoint_url=server.url, aws_access_key_id=ACCESS_KEY,
                         aws_secret_access_key="wrong")
    assert code(wrong.list_objects_v2, Bucket=bucket) == (403, "SignatureDoesNotMatch")
    unknown = boto3.client("s3", region_name=REGION, endpoint_url=server.url, aws_access_key_id="AKIANOBODY",
                           aws_secret_access_key="wrong")
    assert code(unknown.list_objects_v2, Bucket=bucket) == (403, "InvalidAccessKeyId")
    token = boto3.client("s3", region_name=REGION, endpoint_url=server.url, aws_access_key_id=ACCESS_KEY,
                         aws_secret_access_key=SECRET_KEY, aws_session_token="made up")
    assert code(token.list_objects_v2, Bucket=bucket)[0] in (400, 403)


def test_tags_and_cors(server, s3, bucket):
    assert code(s3.get_bucket_tagging, Bucket=bucket) == (404, "NoSuchTagSet")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "1"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"v")
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []

    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET",
             "Access-Control-Request-Headers": "x-amz-date"}
    assert requests.options(f"{server.url}/{bucket}/k", headers=asked).status_code == 403
    assert code(s3.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
    rule = {"AllowedOrigins": ["https://*.example.com"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    preflight = requests.options(f"{server.url}/{bucket}/k", headers=asked)
    assert preflight.status_code == 200 and preflight.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert preflight.headers["Access-Control-Max-Age"] == "60"
    assert requests.options(f"{server.url}/{bucket}/k", headers=dict(asked, Origin="https://evil.org")).status_code == 403
    url = presigning(server, "s3v4").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    answer = requests.get(url, headers={"Origin": "https://app.example.com"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer.headers["Access-Control-Expose-Headers"] == "ETag"


def test_settings_are_honoured_or_refused(s3, bucket):
    assert code(s3.get_bucket_encryption, Bucket=bucket)[1] == "ServerSideEncryptionConfigurationNotFoundError"
    assert code(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == (404, "NoSuchLifecycleConfiguration")
    assert code(s3.get_bucket_website, Bucket=bucket) == (404, "NoSuchWebsiteConfiguration")
    assert code(s3.get_bucket_replication, Bucket=bucket)[1] == "ReplicationConfigurationNotFoundError"
    assert code(s3.get_object_lock_configuration, Bucket=bucket)[1] == "ObjectLockConfigurationNotFoundError"
    owner = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    assert code(s3.put_bucket_lifecycle_configuration, Bucket=bucket,
                LifecycleConfiguration={"Rules": [rule]}) == (501, "NotImplemented")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"", ServerSideEncryption="aws:kms") == (501, "NotImplemented")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read") == (400, "AccessControlListNotSupported")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"", ExpectedBucketOwner="999999999999") == (403, "AccessDenied")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="private", ExpectedBucketOwner="123456789012")


def test_operations_are_counted(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="counted", Body=b"")
    metrics = requests.get(f"{server.url}/metrics").text
    assert 'craton_requests_total{operation="PutObject",status="200"}' in metrics


def made_with(server, credentials, **config):
    """An S3 client with keys as IAM or STS gave them."""
    return boto3.client(
        "s3", region_name=REGION, endpoint_url=server.url, aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"], aws_session_token=credentials.get("SessionToken"),
        config=Config(retries={"total_max_attempts": 1}, **config))


def statement(effect, actions, resources, **more):
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def person(server, bucket):
    """A user who may read, write and list under `own/` of the bucket: its name, ARN and keys."""
    iam, name = server.client("iam"), f"s3-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document(
        statement("Allow", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"arn:aws:s3:::{bucket}/own/*"),
        statement("Allow", "s3:ListBucket", f"arn:aws:s3:::{bucket}", Condition={"StringLike": {"s3:prefix": "own/*"}})))
    return name, arn, iam.create_access_key(UserName=name)["AccessKey"]


DENIED = (403, "AccessDenied")


def test_a_user_stays_under_its_prefix(server, s3, bucket, person):
    _, arn, key = person
    own = made_with(server, key)
    s3.put_object(Bucket=bucket, Key="others/a", Body=b"theirs")
    own.put_object(Bucket=bucket, Key="own/a", Body=b"mine")
    assert own.get_object(Bucket=bucket, Key="own/a")["Body"].read() == b"mine"
    assert [item["Key"] for item in own.list_objects_v2(Bucket=bucket, Prefix="own/")["Contents"]] == ["own/a"]
    assert code(own.list_objects_v2, Bucket=bucket) == DENIED
    assert code(own.list_objects_v2, Bucket=bucket, Prefix="others/") == DENIED
    assert code(own.get_object, Bucket=bucket, Key="others/a") == DENIED
    assert code(own.put_object, Bucket=bucket, Key="others/b", Body=b"x") == DENIED
    assert code(own.copy_object, Bucket=bucket, Key="own/b", CopySource=f"{bucket}/others/a") == DENIED
    assert code(own.create_multipart_upload, Bucket=bucket, Key="others/c") == DENIED
    assert code(own.put_bucket_policy, Bucket=bucket, Policy="{}")[0] == 403
    assert code(own.list_buckets) == DENIED
    gone = own.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "own/a"}, {"Key": "others/a"}]})
    assert [item["Key"] for item in gone["Deleted"]] == ["own/a"]
    assert [(item["Key"], item["Code"]) for item in gone["Errors"]] == [("others/a", "AccessDenied")]
    # The bucket's own policy takes away what the user's gives, and gives what it does not.
    own.put_object(Bucket=bucket, Key="own/secret", Body=b"s")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(
        statement("Deny", "s3:GetObject", f"arn:aws:s3:::{bucket}/own/secret", Principal={"AWS": arn}),
        statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/others/*", Principal={"AWS": arn})))
    assert code(own.get_object, Bucket=bucket, Key="own/secret") == DENIED
    assert own.get_object(Bucket=bucket, Key="others/a")["Body"].read() == b"theirs"
    assert s3.get_object(Bucket=bucket, Key="own/secret")["Body"].read() == b"s"
    s3.delete_bucket_policy(Bucket=bucket)
    assert own.get_object(Bucket=bucket, Key="own/secret")["Body"].read() == b"s"


def test_a_role_at_s3_does_what_its_session_may(server, s3, bucket, person):
    name, arn, key = person
    iam, role = server.client("iam"), f"s3-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": arn}}
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document(
        statement("Allow", "s3:*", [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])))
    sts = boto3.client("sts", region_name=REGION, endpoint_url=server.url, aws_access_key_id=key["AccessKeyId"],
                       aws_secret_access_key=key["SecretAccessKey"])
    begin = lambda **more: sts.assume_role(RoleArn=made, RoleSessionName="s1", **more)["Credentials"]
    whole = begin()
    session = made_with(server, whole)
    session.put_object(Bucket=bucket, Key="docs/a", Body=b"a")
    assert session.get_object(Bucket=bucket, Key="docs/a")["Body"].read() == b"a"
    assert code(session.list_buckets) == DENIED
    narrow = made_with(server, begin(Policy=document(statement("Allow", "s3:GetObject", f"arn:aws:s3:::{bucket}/docs/*"))))
    assert narrow.get_object(Bucket=bucket, Key="docs/a")["Body"].read() == b"a"
    assert code(narrow.put_object, Bucket=bucket, Key="docs/b", Body=b"b") == DENIED
    token = whole["SessionToken"]
    middle = len(token) // 2
    for forged in (token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1:], "made-up", begin()["SessionToken"]):
        borrowed = made_with(server, dict(whole, SessionToken=forged))
        assert code(borrowed.get_object, Bucket=bucket, Key="docs/a") == (403, "InvalidAccessKeyId")
    without = made_with(server, {"AccessKeyId": whole["AccessKeyId"], "SecretAccessKey": whole["SecretAccessKey"]})
    assert code(without.get_object, Bucket=bucket, Key="docs/a") == (403, "InvalidAccessKeyId")
    # Sessions sign URLs and forms too, by either version.
    for version in ("s3v4", "s3"):
        signer = made_with(server, whole, signature_version=version)
        put = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "docs/b"}, ExpiresIn=60)
        assert requests.put(put, data=version.encode()).status_code == 200
        get = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "docs/b"}, ExpiresIn=60)
        assert requests.get(get).content == version.encode()
        other = quote(begin()["SessionToken"], safe="")
        stolen = requests.get(get.replace(quote(token, safe=""), other))
        assert other in stolen.url and stolen.status_code == 403, stolen.text
        post = signer.generate_presigned_post(bucket, "docs/c", ExpiresIn=60)
        posted = requests.post(post["url"], data=post["fields"], files={"file": ("c", version.encode())})
        assert posted.status_code == 204, posted.text
        assert session.get_object(Bucket=bucket, Key="docs/c")["Body"].read() == version.encode()
        fields = dict(post["fields"], **{"x-amz-security-token": begin()["SessionToken"]})
        assert requests.post(post["url"], data=fields, files={"file": ("c", b"no")}).status_code == 403
        del fields["x-amz-security-token"]
        assert requests.post(post["url"], data=fields, files={"file": ("c", b"no")}).status_code == 403
        # A field asks for what the header would.
        tagged = {"Fields": {"x-amz-tagging": "class=secret"}, "Conditions": [{"x-amz-tagging": "class=secret"}]}
        limited = made_with(server, begin(Policy=document(statement("Allow", "s3:PutObject", f"arn:aws:s3:::{bucket}/docs/*"))),
                            signature_version=version)
        for options, expected in (({}, 204), (tagged, 403)):
            post = limited.generate_presigned_post(bucket, "docs/d", ExpiresIn=60, **options)
            posted = requests.post(post["url"], data=post["fields"], files={"file": ("d", b"d")})
            assert posted.status_code == expected, posted.text
    # A session may do no more from the moment its role may not, and ends with it.
    iam.delete_role_policy(RoleName=role, PolicyName="p")
    assert code(session.get_object, Bucket=bucket, Key="docs/a") == DENIED
    iam.delete_role(RoleName=role)
    assert code(session.get_object, Bucket=bucket, Key="docs/a")[0] == 403


def test_who_presigns_must_have_the_permission(server, s3, bucket, person):
    name, _, key = person
    for item in ("own/a", "others/a"):
        s3.put_object(Bucket=bucket, Key=item, Body=b"x")
    signer = made_with(server, key, signature_version="s3v4")
    sign = lambda item: signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": item}, ExpiresIn=60)
    allowed, denied = sign("own/a"), sign("others/a")
    assert requests.get(allowed).content == b"x"
    refused = requests.get(denied)
    assert refused.status_code == 403 and "<Code>AccessDenied</Code>" in refused.text
    # What was signed is good for as long as whoever signed it is.
    server.client("iam").delete_user_policy(UserName=name, PolicyName="own")
    assert requests.get(allowed).status_code == 403
    server.client("iam").delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    refused = requests.get(allowed)
    assert refused.status_code == 403 and "<Code>InvalidAccessKeyId</Code>" in refused.text


def test_guessing_a_secret_is_ended(server, bucket, person):
    _, _, key = person
    tries = [code(made_with(server, dict(key, SecretAccessKey=f"guess-{n}")).list_objects_v2, Bucket=bucket, Prefix="own/")
             for n in range(25)]
    assert tries[0] == (403, "SignatureDoesNotMatch") and tries[-1] == (503, "SlowDown"), tries
    # Not even the right one is looked at for a minute; nobody else is held up.
    assert code(made_with(server, key).list_objects_v2, Bucket=bucket, Prefix="own/") == (503, "SlowDown")
    assert server.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
