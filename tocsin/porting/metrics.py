"""The metrics of Prometheus that are known by their names, and which signal measures what they do."""

from __future__ import annotations

from collections.abc import Mapping

_SERVER = (
    r"http_requests_total|http_server_requests_total|http_server_requests_seconds|http_request_duration_seconds|"
    r"http_server_request_duration_seconds|http_server_duration_milliseconds|nginx_ingress_controller_requests|"
    r"nginx_ingress_controller_request_duration_seconds|istio_requests_total|istio_request_duration_milliseconds|"
    r"starlette_requests_total|starlette_request_duration_seconds|flask_http_request_total|"
    r"flask_http_request_duration_seconds|fastapi_requests_total|traefik_service_requests_total"
)
_CLIENT = (
    r"http_client_requests_total|http_client_requests_seconds|http_client_request_duration_seconds|"
    r"http_client_duration_milliseconds"
)
_MODEL = r"gen_ai_client_operation_duration_seconds|gen_ai_server_request_duration_seconds"
FAMILIES: Mapping[str, str] = {"server": _SERVER, "client": _CLIENT, "model": _MODEL}
"""Metrics by what they count: requests that are answered, requests that are made, calls of a model."""

QUEUES = r"rabbitmq_queue_messages(_ready)?|celery_queue_length|azure_servicebus_active_messages|queue_depth"
UPS = ("up", "probe_success")
STATUS = frozenset({"code", "status", "status_code", "http_status_code", "http_response_status_code", "response_code"})
FIVES = frozenset(
    {"5..", "5.*", "5.+", "5xx", "5[0-9]{2}", "5[0-9][0-9]", r"5\d\d", "5d{2}", r"5\d{2}", "^5..$", "5dd"}
)

MEASURES: Mapping[str, str] = {
    "request_success": "AppRequests of the target, those of health checks aside; a client's own mistakes are successes",
    "response_errors": "the events `response.returned` of the target, whatever the status they were sent with",
    "response_latency": "the end-to-end time of `response.returned`, in milliseconds, and no estimate from buckets",
    "dependency_failures": "AppDependencies of the target; 404, 409 and 412 are no failures",
    "model_errors": "the responses and the workers' runs whose error names Foundry, of all of them",
    "probe_failures": "the `probes` of the target in tocsin.yaml, which the watcher asks itself",
    "restarts": "the platform metric RestartCount of the target's Container App",
    "queue_depth": "the `queues` of the target in tocsin.yaml",
    "certificate_days": "the certificates of the `probes` of the target in tocsin.yaml",
}
"""What each signal looks at in place of the metric."""

SIGNALS: Mapping[str, str] = {"client": "dependency_failures", "model": "model_errors"}
"""Which signal measures the failures of a family; of answered requests it depends on how it is asked."""
