"""Requests made from the service's own description, right and wrong: nothing fails, every answer is described."""

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from sijo.app.serving.limits import ServiceLimits
from sijo.app.serving.service import application, make_service

GATE = application(make_service(limits=ServiceLimits(most_tokens=500, most_texts=8, most_labels=8)))


@pytest.fixture(scope="module")
def client():
    with TestClient(GATE, "http://localhost:8000", raise_server_exceptions=False) as one:
        yield one


schema = schemathesis.openapi.from_dict(GATE.app.openapi())


@schema.parametrize()
@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_no_request_fails_and_each_answer_is_described(client, case):
    # kills: 500 for what no person wrote; an answer of a status or a shape that the description does not have
    asked = case.as_transport_kwargs(base_url="http://localhost:8000")
    asked.pop("cookies", None)
    answer = client.request(**asked)
    assert answer.status_code != 500, answer.text
    case.validate_response(answer, excluded_checks=[positive_data_acceptance])  # what is well formed may not be
