"""What the service will not do, decided before any work: sizes, times, and how a refusal is told."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from sijo.errors import SettingError

LARGEST = 10**10
LIMITS = Parameter(group=Group("Limits", sort_key=1))
"""These options stand apart in the command's help."""
REASONS = {
    400: "the body is no JSON",
    401: "a key is needed, or is another",
    403: "a page of another origin asked",
    404: "there is nothing at this path, or no model of this name",
    405: "the path is there, for another method",
    408: "the request did not come whole in time",
    413: "the body, its texts or its labels are more than the service takes at once",
    415: "the body is not plain JSON",
    421: "the Host is none of the service's names",
    422: "the request says what cannot be",
    424: "the model does not do this",
    429: "the queue is full",
    500: "a fault of the service's own",
    503: "the service is closing, or the answer took too long",
}
"""By status, what a refusal means."""


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """How much one request may ask, and how much may wait."""

    most_body_bytes: Annotated[int, LIMITS] = 4 * 2**20
    """Of a request's body."""
    most_texts: Annotated[int, LIMITS] = 1_000
    """Of a request."""
    most_labels: Annotated[int, LIMITS] = 1_000
    """Beside each text of a request."""
    most_tokens: Annotated[int, LIMITS] = 200_000
    """That a request has the network read, about: labels count for each text where both are read together."""
    most_queue_tokens: Annotated[int, LIMITS] = 1_000_000
    """That wait, about; a request that finds more is refused."""
    most_kept_bytes: Annotated[int, LIMITS] = 32 * 2**20
    """Of what a model said of texts, kept for other labels on the same texts; of each model."""
    most_seconds: Annotated[float, LIMITS] = 60.0
    """From a request's arrival to its answer."""
    most_body_seconds: Annotated[float, LIMITS] = 10.0
    """For a request's headers, and for its body, to arrive."""

    def __post_init__(self) -> None:
        for name in ServiceLimits.__dataclass_fields__:
            if not 0 < (value := getattr(self, name)) <= LARGEST:
                option = name.replace("_", "-")
                raise SettingError(f"{name}={value} (--{option}) is no limit; give more than 0, and up to 10^10")


class Refusal(Exception):  # noqa: N818 (an answer, no fault)
    """An answer that is a refusal: a status, and why in one sentence.

    kind   the word that text-embeddings-inference has for it
    after  seconds after which to ask again; None where that changes nothing
    """

    def __init__(self, status: int, reason: str, *, kind: str | None = None, after: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.after = status, reason, after
        self.kind = kind or KINDS.get(status, "validation")

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it: when to come again, which clients read in either unit, and how to show a key."""
        headers: dict[str, str] = {}
        if self.after is not None:
            headers |= {
                "retry-after": str(max(1, round(self.after))),
                "retry-after-ms": str(int(1000 * self.after)),
            }
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    def body(self, path: str) -> dict[str, object]:
        """As clients of the path read it: OpenAI's below /v1, elsewhere that of text-embeddings-inference."""
        if path.startswith("/v1/"):
            kind = "rate_limit_error" if self.status == 429 else "invalid_request_error"
            if self.status >= 500:
                kind = "server_error"
            return {"error": {"message": self.reason, "type": kind, "param": None, "code": self.kind}}
        return {"error": self.reason, "error_type": self.kind}


KINDS = {424: "backend", 429: "overloaded", 500: "backend", 503: "unhealthy"}
"""By status, what text-embeddings-inference calls it; "validation" otherwise."""
