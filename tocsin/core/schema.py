"""The workspace's tables and columns as Application Insights writes them, and their classic names."""

from __future__ import annotations

from collections.abc import Mapping

_COMMON = {
    "TimeGenerated": "datetime",
    "AppRoleName": "string",
    "AppRoleInstance": "string",
    "AppVersion": "string",
    "OperationId": "string",
    "OperationName": "string",
    "ParentId": "string",
    "ItemCount": "int",
    "Properties": "dynamic",
    "SDKVersion": "string",
    "_ResourceId": "string",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "AppTraces": {**_COMMON, "Message": "string", "SeverityLevel": "int"},
    "AppRequests": {
        **_COMMON,
        "Id": "string",
        "Name": "string",
        "Url": "string",
        "Success": "bool",
        "ResultCode": "string",
        "DurationMs": "real",
    },
    "AppDependencies": {
        **_COMMON,
        "Id": "string",
        "Name": "string",
        "Target": "string",
        "DependencyType": "string",
        "Data": "string",
        "Success": "bool",
        "ResultCode": "string",
        "DurationMs": "real",
    },
    "AppExceptions": {
        **_COMMON,
        "ProblemId": "string",
        "ExceptionType": "string",
        "OuterMessage": "string",
        "OuterType": "string",
        "InnermostMessage": "string",
        "InnermostType": "string",
        "SeverityLevel": "int",
    },
    "AppMetrics": {**_COMMON, "Name": "string", "Sum": "real", "Min": "real", "Max": "real"},
}
"""Table → column → KQL type."""

CLASSIC: Mapping[str, str] = {
    "traces": "AppTraces",
    "requests": "AppRequests",
    "dependencies": "AppDependencies",
    "exceptions": "AppExceptions",
    "customMetrics": "AppMetrics",
}
"""Classic Application Insights table → workspace table."""
