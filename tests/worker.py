"""Microsoft's own Python worker library in this process: loads, indexes and runs the functions as Azure does.

The library takes messages of the host's protocol; they are made here from plain namespaces, so that neither gRPC nor a
host is needed. It exists for Python 3.13 alone.
"""

from __future__ import annotations

import asyncio
import json
import types
import uuid
from pathlib import Path
from typing import Any

_MESSAGES = (
    "TypedData WorkerInitResponse FunctionEnvironmentReloadResponse RpcRetryOptions NullableDouble NullableString "
    "NullableBool NullableTimestamp InvocationResponse WorkerMetadata RpcHttpCookie RpcHttp RpcFunctionMetadata "
    "RpcException ParameterBinding FunctionMetadataResponse FunctionLoadResponse StatusResult BindingInfo"
)
_SUCCESS = 1


class Message:
    """A message of the protocol: what was not set is None."""

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)
        self.given = [name for name in given if not name.startswith("_")]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "TypedData":
            raise AttributeError(name)
        return None

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802
        return next(iter(self.given), None)

    def HasField(self, name: str) -> bool:  # noqa: N802
        return name in self.given


def _protocol() -> Any:
    kinds = types.SimpleNamespace(**{name: type(name, (Message,), {}) for name in _MESSAGES.split()})
    kinds.StatusResult.Success, kinds.StatusResult.Failure = _SUCCESS, 0
    for name, number in {"in": 0, "out": 1, "inout": 2, "undefined": -1}.items():
        setattr(kinds.BindingInfo, name, number)
    kinds.BindingInfo.Direction = types.SimpleNamespace(**{"in": 0, "out": 1, "inout": 2})
    kinds.BindingInfo.DataType = types.SimpleNamespace(undefined=0, string=1, binary=2, stream=3)
    kinds.RpcHttpCookie.SameSite = types.SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})
    return kinds


class Worker:
    """One worker with one app. ``functions`` by name, each with its bindings."""

    def __init__(self, folder: Path) -> None:
        import azure_functions_runtime

        self._runtime, self._kinds = azure_functions_runtime, _protocol()
        self._loop = asyncio.new_event_loop()
        azure_functions_runtime.start_threadpool_executor()
        self._loop.run_until_complete(self._start(str(folder)))

    def close(self) -> None:
        """End the loop."""
        self._loop.close()

    async def _start(self, folder: str) -> None:
        init = types.SimpleNamespace(capabilities={}, function_app_directory=folder)
        begun = await self._runtime.worker_init_request(self._request(worker_init_request=init))
        if begun.result.status != _SUCCESS:
            raise RuntimeError(begun.result.exception.message)
        found = await self._runtime.functions_metadata_request(self._request())
        self.functions = {each.name: each for each in found.function_metadata_results}
        for each in self.functions.values():
            load = types.SimpleNamespace(function_id=each.function_id)
            await self._runtime.function_load_request(self._request(function_load_request=load))

    def bindings(self, name: str) -> list[dict[str, Any]]:
        """Return the bindings of a function as the host is told them."""
        return [json.loads(each) for each in self.functions[name].raw_bindings]

    def run(self, name: str, argument: str, data: Any) -> Any:
        """Invoke a function; return what it returned. Raises RuntimeError with the worker's words when it failed."""
        kind = self._kinds.TypedData
        given = data if isinstance(data, Message) else kind(json=json.dumps(data))
        failed = types.SimpleNamespace(source="", stack_trace="", message="")
        invocation = types.SimpleNamespace(
            invocation_id=str(uuid.uuid4()),
            function_id=self.functions[name].function_id,
            input_data=[types.SimpleNamespace(name=argument, data=given, WhichOneof=lambda _: "data")],
            trigger_metadata={},
            trace_context=types.SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=types.SimpleNamespace(retry_count=0, max_retry_count=0, exception=failed),
        )
        asked = self._request(invocation_request=invocation)
        answer = self._loop.run_until_complete(self._runtime.invocation_request(asked))
        if answer.result.status != _SUCCESS:
            raise RuntimeError(answer.result.exception.message)
        return answer.return_value

    def text(self, text: str) -> Message:
        """Return a queue's message as the host hands it over."""
        found: Message = self._kinds.TypedData(string=text)
        return found

    def http(self, method: str, url: str, content: bytes = b"", **query: str) -> Message:
        """Return an HTTP request of one of our own pages as the host hands it over."""
        ours, empty = {"sec-fetch-site": "same-origin"}, dict[str, str]()
        body = self._kinds.TypedData(bytes=content)
        request = self._kinds.RpcHttp(method=method, url=url, headers=ours, body=body, params=empty, query=query)
        found: Message = self._kinds.TypedData(http=request)
        return found

    def _request(self, **given: Any) -> Any:
        properties = {"host": "127.0.0.1", "protos": self._kinds}
        return types.SimpleNamespace(request=types.SimpleNamespace(**given), properties=properties)
