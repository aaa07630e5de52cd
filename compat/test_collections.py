"""opensearch-py on a collection's endpoint, as notebooks use it before they make a knowledge base."""

import json
import uuid

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from conftest import ACCESS_KEY, REGION, SECRET_KEY, index_in, inline_document, knowledge_base_request
from opensearchpy import AuthorizationException, NotFoundError, OpenSearch, RequestsAWSV4SignerAuth, RequestsHttpConnection, helpers


@pytest.fixture(scope="module")
def opensearch(server):
    name = f"c-{uuid.uuid4().hex[:8]}"
    aoss = server.client("opensearchserverless")
    policy = {"Rules": [{"Resource": [f"collection/{name}"], "ResourceType": "collection"}], "AWSOwnedKey": True}
    aoss.create_security_policy(name=name, type="encryption", policy=json.dumps(policy))
    collection = aoss.create_collection(name=name, type="VECTORSEARCH")["createCollectionDetail"]
    detail = aoss.batch_get_collection(names=[name])["collectionDetails"][0]
    assert detail["status"] == "ACTIVE" and detail["id"] == collection["id"]
    auth = RequestsAWSV4SignerAuth(Credentials(ACCESS_KEY, SECRET_KEY), REGION, "aoss")
    client = OpenSearch(hosts=[detail["collectionEndpoint"]], http_auth=auth, timeout=60,
                        connection_class=RequestsHttpConnection)
    client.collection_arn = collection["arn"]
    yield client
    aoss.delete_collection(id=collection["id"])
    with pytest.raises(NotFoundError):
        client.indices.get(index="anything")


def test_an_index_from_birth_to_death(opensearch):
    body = {
        "settings": {"index.knn": "true"},
        "mappings": {"properties": {
            "vector": {"type": "knn_vector", "dimension": 3, "method": {"name": "hnsw", "engine": "faiss", "space_type": "l2"}},
            "text": {"type": "text"}, "text-metadata": {"type": "text"}}},
    }
    assert not opensearch.indices.exists(index="sample")
    assert opensearch.indices.create(index="sample", body=body)["acknowledged"]
    assert opensearch.indices.exists(index="sample")
    assert opensearch.indices.get_mapping(index="sample")["sample"]["mappings"]["properties"]["vector"]["dimension"] == 3
    assert [index["index"] for index in opensearch.cat.indices(format="json")] == ["sample"]
    texts = ["a red fox", "a blue whale", "a red apple"]
    actions = [{"_index": "sample", "vector": [float(n == m) for m in range(3)], "text": text, "year": 2020 + n}
               for n, text in enumerate(texts)]
    assert helpers.bulk(opensearch, actions) == (3, [])
    answer = opensearch.index(index="sample", body={"vector": [1, 1, 1], "text": "all of them", "year": 2023})
    assert answer["result"] == "created"
    assert opensearch.count(index="sample")["count"] == 4
    nearest = opensearch.search(index="sample", body={"size": 2, "query": {"knn": {"vector": {"vector": [0, 1, 0], "k": 2}}}})
    assert nearest["hits"]["hits"][0]["_source"]["text"] == "a blue whale"
    query = {"bool": {"must": [{"match": {"text": "red"}}], "filter": [{"range": {"year": {"gte": 2021}}}]}}
    found = opensearch.search(index="sample", body={"query": query})
    assert [hit["_source"]["text"] for hit in found["hits"]["hits"]] == ["a red apple"]
    opensearch.delete(index="sample", id=answer["_id"])
    with pytest.raises(NotFoundError):
        opensearch.get(index="sample", id=answer["_id"])
    assert opensearch.indices.delete(index="sample")["acknowledged"]


def test_a_stranger_is_refused(server, opensearch):
    host = opensearch.transport.hosts[0]
    auth = RequestsAWSV4SignerAuth(Credentials(ACCESS_KEY, "wrong"), REGION, "aoss")
    stranger = OpenSearch(hosts=[host], http_auth=auth, connection_class=RequestsHttpConnection)
    with pytest.raises(AuthorizationException):
        stranger.indices.get(index="sample")


def test_a_user_needs_both_iam_and_a_data_access_policy(server, opensearch):
    iam, aoss = server.client("iam"), server.client("opensearchserverless")
    name = f"reader-{uuid.uuid4().hex[:8]}"
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    auth = RequestsAWSV4SignerAuth(Credentials(keys["AccessKeyId"], keys["SecretAccessKey"]), REGION, "aoss")
    user = OpenSearch(hosts=[opensearch.transport.hosts[0]], http_auth=auth, connection_class=RequestsHttpConnection)
    opensearch.indices.create(index="shared", body={"mappings": {"properties": {"text": {"type": "text"}}}})
    opensearch.index(index="shared", body={"text": "a grey heron"})
    permission = {"Effect": "Allow", "Action": "aoss:APIAccessAll", "Resource": "*"}
    data = [{"Principal": [arn], "Rules": [
        {"ResourceType": "index", "Resource": ["index/c-*/shared"], "Permission": ["aoss:ReadDocument"]}]}]
    steps = [
        lambda: None,
        lambda: iam.put_user_policy(UserName=name, PolicyName="aoss", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [permission]})),
    ]
    for step in steps:
        step()
        with pytest.raises(AuthorizationException):
            user.count(index="shared")
    aoss.create_access_policy(name=name[:32], type="data", policy=json.dumps(data))
    assert user.count(index="shared")["count"] == 1
    with pytest.raises(AuthorizationException, match="aoss:WriteDocument"):
        user.index(index="shared", body={"text": "another"})
    iam.delete_user_policy(UserName=name, PolicyName="aoss")
    with pytest.raises(AuthorizationException):
        user.count(index="shared")
    opensearch.indices.delete(index="shared")


def test_a_knowledge_base_and_the_index_that_a_notebook_makes_for_it(server, opensearch):
    """As notebooks do: the index first, with names of their own, and a look at it once it is filled."""
    index = f"own-{uuid.uuid4().hex[:8]}"
    opensearch.indices.create(index=index, body=json.dumps({
        "settings": {"index.knn": "true", "number_of_shards": 1, "knn.algo_param.ef_search": 512},
        "mappings": {"properties": {
            "vector": {"type": "knn_vector", "dimension": 1024,
                       "method": {"name": "hnsw", "engine": "faiss", "space_type": "l2"}},
            "text": {"type": "text"}, "text-metadata": {"type": "text"}}}}))
    agent, storage = server.client("bedrock-agent"), index_in(opensearch.collection_arn, index)
    fields = storage["opensearchServerlessConfiguration"]["fieldMapping"] = {
        "vectorField": "elsewhere", "textField": "text", "metadataField": "text-metadata"}
    with pytest.raises(ClientError, match="storage configuration provided is invalid... .*is not knn_vector type") as caught:
        agent.create_knowledge_base(**knowledge_base_request(storage))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    fields["vectorField"] = "vector"
    base = server.knowledge_base(storage)["knowledgeBaseId"]
    server.fill(base, [inline_document("pier", "The pier opens at nine.", year=2025)])
    hits = opensearch.search(index=index, body={"query": {"match": {"text": "pier"}}})["hits"]["hits"]
    assert [hit["_source"]["text"] for hit in hits] == ["The pier opens at nine."]
    assert json.loads(hits[0]["_source"]["text-metadata"]) == {"source": "pier"} and hits[0]["_source"]["year"] == 2025
