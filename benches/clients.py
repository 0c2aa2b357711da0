"""Asks a running server by the clients that others use, and checks what comes back.

    spanqa serve &
    pip install huggingface_hub requests prometheus_client openapi-spec-validator
    python benches/clients.py http://127.0.0.1:8080

With `schemathesis run URL/openapi.json` the description itself is turned into requests: none may end in a 5xx.
"""

import json
import sys

import requests
from huggingface_hub import InferenceClient
from openapi_spec_validator import validate
from prometheus_client.openmetrics.parser import text_string_to_metric_families

URL = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:8080"
QUESTION = "Who was the last keeper?"
CONTEXT = "Ingrid Dahl built the tower. The last keeper was Olav Brekke, who left in 1986."
ANSWER = "Olav Brekke"


def check(name, found, expected=ANSWER):
    assert found == expected, f"{name}: {found!r} is not {expected!r}"
    print(f"{name}: {found!r}")


def hugging_face():
    client = InferenceClient(model=URL)
    one = client.question_answering(question=QUESTION, context=CONTEXT)
    one = one[0] if isinstance(one, list) else one
    check("huggingface_hub", one.answer)
    assert CONTEXT[one.start : one.end] == one.answer and 0 <= one.score <= 1, one
    several = client.question_answering(question=QUESTION, context=CONTEXT, top_k=3)
    assert len(several) == 3 and several[0].answer == one.answer, several
    # By the path of a model, as the inference API has it.
    name = requests.get(f"{URL}/info").json()["models"][0]["name"]
    named = InferenceClient(model=f"{URL}/models/{name}").question_answering(question=QUESTION, context=CONTEXT)
    check("huggingface_hub, a model by name", (named[0] if isinstance(named, list) else named).answer)


def post(path, body, **headers):
    data = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    response = requests.post(URL + path, data=data.encode(), headers=headers, timeout=60)
    assert response.status_code == 200, (path, response.status_code, response.text)
    return response


def sagemaker():
    inputs = {"question": QUESTION, "context": CONTEXT}
    check("SageMaker, JSON", post("/invocations", {"inputs": inputs}).json()["answer"])
    assert requests.get(f"{URL}/ping").status_code == 200
    table = f'question,context\n"{QUESTION}","{CONTEXT}"\n'
    check("SageMaker, CSV", post("/invocations", table, content_type="text/csv").json()[0]["answer"])


def azure():
    lists = {"inputs": {"question": [QUESTION], "context": [CONTEXT]}}
    check("Azure, inputs", post("/score", lists).json(), [ANSWER])
    check("Azure, input_data", post("/score", {"input_data": {"question": QUESTION, "context": CONTEXT}}).json(), [ANSWER])


def vertex():
    body = {"instances": [{"question": QUESTION, "context": CONTEXT}], "parameters": {"top_k": 1}}
    check("Vertex", post("/predict", body).json()["predictions"][0]["answer"])


def own():
    record = post("/v1/answer", {"question": QUESTION, "context": CONTEXT}).json()
    check("/v1/answer", record["answers"][0]["text"])
    lines = "".join(json.dumps({"id": number, "question": QUESTION, "context": CONTEXT}) + "\n" for number in range(100))
    streamed = post("/v1/answer/stream", lines, content_type="application/x-ndjson").text.splitlines()
    check("/v1/answer/stream", [json.loads(line)["id"] for line in streamed], list(range(100)))


def text_embeddings_inference():
    vectors = post("/embed", {"inputs": [QUESTION, CONTEXT]}).json()
    check("/embed", [len(vector) for vector in vectors], [384, 384])
    ranks = post("/rerank", {"query": QUESTION, "texts": ["It rains.", CONTEXT]}).json()
    check("/rerank", ranks[0]["index"], 1)


def prometheus():
    families = {family.name for family in text_string_to_metric_families(requests.get(f"{URL}/metrics").text)}
    wanted = {"spanqa_request_count", "spanqa_request_duration", "spanqa_queue_tokens", "inf_queue_size"}
    assert wanted <= families, families
    print(f"/metrics: {len(families)} families")


def description():
    validate(requests.get(f"{URL}/openapi.json").json())
    print("/openapi.json: valid")


for part in (hugging_face, sagemaker, azure, vertex, own, text_embeddings_inference, prometheus, description):
    part()
